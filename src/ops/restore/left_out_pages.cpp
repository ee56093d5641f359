#include "ops/restore/left_out_pages.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/os/durable.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_blocks.h"
#include "chronos/pgdata/wal_extent.h"
#include "ops/restore/copy.h"
#include "ops/restore/mapping.h"
#include "ops/restore/parameters.h"
#include "ops/restore/selective.h"

namespace chronos::ops::restore {
namespace {

constexpr std::uint32_t kDefaultTablespace = 1663;
/// A record has 33 pages at most, each with an image.
constexpr std::size_t kRecordMax = std::size_t{1} << 20;

class Pages {
public:
    Pages(const RestorePlan& plan, const std::set<std::uint32_t>& databases, bool sync_files)
        : plan_(plan),
          databases_(databases),
          sync_files_(sync_files),
          version_(version_directory_of(plan.manifest)) {}

    Result<> add(const pgdata::WalBlock& block, Lsn end) {
        if (!databases_.contains(block.database)) return {};
        File& file = file_of(block);
        const std::uint32_t number = block.block % pgdata::kBlocksInSegment;
        if (number >= file.made.size() || file.made[number]) return {};
        if (block.is_made) {
            file.made[number] = true;
            return {};
        }
        return write(file, block.block, end);
    }
    Result<> finish() { return close(); }
    std::uint64_t count() const { return count_; }

private:
    struct File {
        std::string path;
        std::vector<bool> made;  ///< by the WAL; as many as the backup has of them
    };
    using Key =
        std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>;

    File& file_of(const pgdata::WalBlock& block) {
        const Key key{block.tablespace, block.database, block.relation, block.fork,
                      block.block / pgdata::kBlocksInSegment};
        const auto [found, is_new] = files_.try_emplace(key);
        if (!is_new) return found->second;
        const std::string directory =
            block.tablespace == kDefaultTablespace
                ? "pg_data/base"
                : "pg_tblspc/" + std::to_string(block.tablespace) + "/" + version_;
        const std::string name =
            directory + "/" + std::to_string(block.database) + "/" + pgdata::file_of_block(block);
        // What the WAL makes itself it makes with all its pages.
        if (const repo::ManifestFile* file = plan_.manifest.find_file(name))
            found->second = {path_of(plan_.manifest, name),
                             std::vector<bool>(file->size / pgdata::kPageSize)};
        return found->second;
    }

    /// Again for each record, until one of them makes the page.
    Result<> write(const File& file, std::uint32_t block, Lsn end) {
        if (&file != open_) {
            CHRONOS_TRY(close());
            fd_ = os::FileDescriptor(::open(file.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
            if (!fd_.valid())
                return system_error(ErrorKind::file_open, "unable to open '" + file.path + "'",
                                    errno);
            open_ = &file;
        }
        const std::string page = pgdata::empty_page(end, block);
        const auto at =
            static_cast<off_t>(block % pgdata::kBlocksInSegment) * static_cast<off_t>(page.size());
        const ssize_t written = ::pwrite(fd_.get(), page.data(), page.size(), at);
        if (written != static_cast<ssize_t>(page.size()))
            return system_error(ErrorKind::file_write, "unable to write '" + file.path + "'",
                                written < 0 ? errno : ENOSPC);
        ++count_;
        return {};
    }
    Result<> close() {
        if (open_ == nullptr) return {};
        const std::string& path = open_->path;
        if (sync_files_) CHRONOS_TRY(os::sync_file(fd_.get(), path));
        open_ = nullptr;
        if (!fd_.close())
            return system_error(ErrorKind::file_write, "unable to close '" + path + "'", errno);
        return {};
    }

    const RestorePlan& plan_;
    const std::set<std::uint32_t>& databases_;
    bool sync_files_;
    std::string version_;
    std::map<Key, File> files_;
    const File* open_ = nullptr;
    os::FileDescriptor fd_;
    std::uint64_t count_ = 0;
};

/// More than where the record ends: headers of the pages that it goes over are in between.
Lsn behind(Lsn begin, std::size_t size) {
    const std::size_t pages = size / pgdata::kWalPageSize + 2;
    return Lsn{begin.value + size + pages * 40};
}

}  // namespace

Result<> make_pages_left_out(const RestoreRequest& request, const RestorePlan& plan,
                             const std::set<std::uint32_t>& zeroed_databases, bool sync_files,
                             const Cancellation& cancel, const ProgressReceiver& progress) {
    if (zeroed_databases.empty() || plan.wal_to_read == nullptr) return {};
    Pages pages(plan, zeroed_databases, sync_files);
    const auto major = static_cast<unsigned>(major_of(plan.manifest.pg_version));
    const Lsn replayed_from = plan.manifest.lsn_start.value_or(Lsn{});
    std::optional<Error> failure;
    pgdata::WalReader reader(pgdata::WalReader::Depth::records, plan.backup_timeline);
    reader.want({std::nullopt, kRecordMax, [&](Lsn begin, io::Bytes record) {
                     if (begin < replayed_from) return;
                     for (const auto& block : pgdata::parse_wal_blocks(record, major))
                         if (auto added = pages.add(block, behind(begin, record.size()));
                             !added && !failure)
                             failure = std::move(added).error();
                 }});
    Progress now{"read", 0, 0, 0, plan.wal.count};
    const Result<> read = read_way(*plan.wal_to_read, request.process_max, cancel,
                                   [&](const std::string& segment, io::Bytes content) {
                                       reader.go_on(pgdata::timeline_of_segment(segment));
                                       [[maybe_unused]] const Result<> never =
                                           reader.write(content);
                                       now.bytes_done += content.size();
                                       ++now.files_done;
                                       if (progress) progress(now);
                                       return !failure && !ends_in_segment(plan, content);
                                   });
    if (failure) return *std::move(failure);
    CHRONOS_TRY(cancel.check());
    CHRONOS_TRY(pages.finish());
    if (pages.count() > 0)
        log_info("pages of databases that are left out, which the WAL changes without an image: " +
                 std::to_string(pages.count()) + " changes are kept off them");
    // Recovery gets no farther either, unless the repository answers by then.
    if (!read)
        log_warn("not all WAL could be read for pages of databases that are left out: " +
                 read.error().message() +
                 "; should recovery end with 'WAL contains references to invalid pages' of those, "
                 "restore again");
    return {};
}

}  // namespace chronos::ops::restore
