#include "ops/restore/copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <tuple>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/io/worker_pool.h"
#include "chronos/repo/stored_file.h"
#include "chronos/storage/parallel.h"
#include "ops/restore/destination.h"
#include "ops/restore/mapping.h"
#include "ops/restore/selective.h"
#include "ops/restore/target_file.h"

namespace chronos::ops::restore {
namespace {

/// Bounds of a run of bundle members: large enough that a request is worth it, small enough that
/// there is work for every thread.
constexpr std::uint64_t kRunStoredMax = std::uint64_t{8} << 20;
constexpr std::uint64_t kRunSizeMax = std::uint64_t{64} << 20;
constexpr std::size_t kRunFilesMax = 512;
/// Members that are not wanted are read over rather than asked around, up to here.
constexpr std::uint64_t kRunGapMax = std::uint64_t{32} << 10;

struct CopyItem {
    const repo::ManifestFile* file = nullptr;
    std::string path;
    bool zeroed = false;
    bool behind_link = false;  ///< the file itself is a link of the backup
};

/// What one thread does in one go: one file, or neighbours in one bundle in order of offset.
struct CopyUnit {
    std::vector<CopyItem> items;
    std::uint64_t size_bytes = 0;
    bool bundle_run = false;
};

/// Relations are full of pages of zeros that nobody will miss on disk.
bool may_be_sparse(std::string_view name) {
    return name.starts_with("pg_data/base/") || name.starts_with("pg_tblspc/");
}

bool has_content(const CopyItem& item) {
    return !item.zeroed && item.file->size > 0;
}

/// Counts what is done and passes it on a few times a second.
class Meter {
public:
    Meter(std::function<void(const Progress&)> report, std::uint64_t bytes, std::uint64_t files)
        : report_(std::move(report)) {
        progress_.phase = "copy";
        progress_.bytes_total = bytes;
        progress_.files_total = files;
    }
    void add_bytes(std::uint64_t bytes) {
        bytes_.fetch_add(bytes, std::memory_order_relaxed);
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (lock.owns_lock()) pass_on(std::chrono::milliseconds(250));
    }
    /// The share of all bytes after this file, in hundredths of a percent.
    std::uint64_t file_done(std::uint64_t size_bytes) {
        files_.fetch_add(1, std::memory_order_relaxed);
        const std::uint64_t done = logged_.fetch_add(size_bytes) + size_bytes;
        return progress_.bytes_total == 0 ? 10000 : done * 10000 / progress_.bytes_total;
    }
    void end() {
        const std::lock_guard lock(mutex_);
        pass_on(std::chrono::milliseconds(0));
    }

private:
    void pass_on(std::chrono::milliseconds interval) {
        const auto now = std::chrono::steady_clock::now();
        if (!report_ || now - last_ < interval) return;
        last_ = now;
        progress_.bytes_done = std::min(bytes_.load(), progress_.bytes_total);
        progress_.files_done = files_.load();
        report_(progress_);
    }
    std::function<void(const Progress&)> report_;
    Progress progress_;
    std::atomic<std::uint64_t> bytes_{0}, files_{0}, logged_{0};
    std::mutex mutex_;
    std::chrono::steady_clock::time_point last_{};
};

/// Where the stored form of the files is.
struct Origin {
    const repo::Repository& repository;
    const repo::Manifest& manifest;
};

class Copier {
public:
    Copier(const CopyRequest& request, Origin origin, const Cancellation& cancel, Meter& meter)
        : request_(request),
          plan_(*request.plan),
          repository_(origin.repository),
          manifest_(origin.manifest),
          stanza_(request.request->stanza),
          meter_(meter),
          watch_{cancel, [&meter](std::uint64_t bytes) { meter.add_bytes(bytes); }} {}

    Result<> copy_unit(const CopyUnit& unit) const {
        std::vector<const CopyItem*> wanted;
        for (const CopyItem& item : unit.items) {
            const bool kept = CHRONOS_TRY(keep_existing(item));
            if (kept)
                meter_.add_bytes(item.file->size);
            else if (!has_content(item))
                CHRONOS_TRY(make_empty(item));
            else if (is_left(item))
                CHRONOS_TRY(leave(item));
            else if (unit.bundle_run && may_run(item))
                wanted.push_back(&item);
            else if (item.file->block_incremental())
                CHRONOS_TRY(copy_blocks(item, repository_));
            else
                CHRONOS_TRY(copy_whole(item));
        }
        return copy_run(wanted);
    }

private:
    FileAttributes attributes_of(const repo::ManifestFile& file) const {
        return {file.mode, file.timestamp, request_.ownership->owner_of(file.user, file.group)};
    }

    WantedFile wanted_of(const CopyItem& item) const {
        const repo::ManifestFile& file = *item.file;
        return {.path = item.path,
                .attributes = attributes_of(file),
                .size_bytes = file.size,
                .checksum = std::string(file.expected_checksum()),
                .sparse = may_be_sparse(file.name),
                .sync = request_.sync_files,
                .behind_link = item.behind_link};
    }

    void log_done(const CopyItem& item, const char* what) const {
        const std::uint64_t share = meter_.file_done(item.file->size);
        char percent[32];
        std::snprintf(percent, sizeof percent, "%llu.%02llu%%",
                      static_cast<unsigned long long>(share / 100),
                      static_cast<unsigned long long>(share % 100));
        std::string text = std::string(what) + " " + item.path + " (";
        if (item.file->bundled())
            text += "bundle " + std::to_string(item.file->bundle_id) + "/" +
                    std::to_string(item.file->bundle_offset) + ", ";
        text += format_size(item.file->size) + ", " + percent + ")";
        if (has_content(item)) text += " checksum " + std::string(item.file->expected_checksum());
        log_detail(text);
    }

    /// A file that has other names is right as it is, or it is made anew.
    bool has_attributes(const CopyItem& item, const ExistingFile& existing) const {
        const FileAttributes wanted = attributes_of(*item.file);
        return existing.mode == wanted.mode && existing.modified == wanted.modified &&
               (!wanted.owner || (existing.owner.user == wanted.owner->user &&
                                  existing.owner.group == wanted.owner->group));
    }

    /// Whether a file that is there already is the one wanted (docs/format/restore.md, Copying);
    /// its time is corrected.
    Result<bool> keep_existing(const CopyItem& item) const {
        if (!plan_.delta || item.zeroed) return false;
        const repo::ManifestFile& file = *item.file;
        const auto existing = CHRONOS_TRY(look_at_file(item.path));
        if (!existing) return false;
        const WantedFile wanted = wanted_of(item);
        if (plan_.force) {
            const bool same = existing->size == file.size && existing->modified == file.timestamp &&
                              existing->modified < plan_.manifest.timestamp_copy_start;
            if (!same) return false;
        } else {
            if (existing->size < file.size) return false;
            if (existing->size > file.size) {
                if (existing->has_other_names) return false;
                CHRONOS_TRY(TargetFile::shorten(wanted, watch_));
            }
            if (CHRONOS_TRY(checksum_of_file(item.path, watch_.cancel)) != wanted.checksum)
                return false;
        }
        if (existing->has_other_names) {
            if (!has_attributes(item, *existing)) return false;
        } else {
            CHRONOS_TRY(TargetFile::settle(wanted, watch_));
        }
        log_done(item, plan_.force ? "restore file - exists and matches size and modification time"
                                   : "restore file - exists and matches backup");
        return true;
    }

    /// Empty files, and files of databases that are left out: all zeros, without blocks on disk.
    Result<> make_empty(const CopyItem& item) const {
        CHRONOS_TRY(TargetFile::replace_with_zeros(wanted_of(item), watch_));
        meter_.add_bytes(item.file->size);
        log_done(item, item.zeroed ? "restore zeroed file" : "restore file");
        return {};
    }

    bool is_left(const CopyItem& item) const {
        const LeftInBackup* const left = request_.request->left_in_backup;
        return left != nullptr && !item.behind_link && left->leaves(*item.file);
    }

    /// All a hole, until somebody needs it.
    Result<> leave(const CopyItem& item) const {
        CHRONOS_TRY(TargetFile::replace_with_zeros(wanted_of(item), watch_));
        CHRONOS_TRY(
            request_.request->left_in_backup->made(*item.file, item.path, request_.sync_files));
        meter_.add_bytes(item.file->size);
        log_done(item, "leave file in the backup");
        return {};
    }

    Result<> replace(const CopyItem& item, const TargetFile::Content& content) const {
        CHRONOS_TRY(TargetFile::replace(wanted_of(item), watch_, content));
        log_done(item, "restore file");
        return {};
    }

    Result<> copy_whole(const CopyItem& item) const {
        return replace(item, [&](TargetFile& target) -> Result<> {
            CHRONOS_TRY_DOING(
                repo::read_whole_file(repository_, stanza_, manifest_, *item.file, target),
                "restore '" + item.path + "'");
            return {};
        });
    }

    /// Members in order of offset; where the gap between two is large, a new read begins.
    Result<> copy_run(const std::vector<const CopyItem*>& items) const {
        for (std::size_t begin = 0; begin < items.size();) {
            std::size_t end = begin + 1;
            while (end < items.size() && gap(*items[end - 1], *items[end]) <= kRunGapMax) ++end;
            CHRONOS_TRY(read_run(items, begin, end));
            begin = end;
        }
        return {};
    }

    static std::uint64_t gap(const CopyItem& before, const CopyItem& after) {
        const std::uint64_t end = before.file->bundle_offset + before.file->repo_size;
        // Overlapping members would be a damaged manifest: each is then read on its own.
        if (after.file->bundle_offset < end) return UINT64_MAX;
        return after.file->bundle_offset - end;
    }

    Result<> read_run(const std::vector<const CopyItem*>& items, std::size_t begin,
                      std::size_t end) const {
        repo::StoredRun run =
            CHRONOS_TRY_DOING(repo::StoredRun::open(repository_, stanza_, manifest_,
                                                    *items[begin]->file, *items[end - 1]->file),
                              "restore '" + items[begin]->path + "'");
        for (std::size_t i = begin; i < end; ++i) {
            const CopyItem& item = *items[i];
            CHRONOS_TRY(run.go_to(*item.file));
            CHRONOS_TRY_DOING(
                copy_member(item, run),
                "restore '" + item.path + "' from " + repository_.storage->describe(run.object()));
        }
        return {};
    }

    /// Where blocks are there already, those that differ are asked for one by one.
    bool may_run(const CopyItem& item) const {
        return !item.file->block_incremental() || !plan_.delta;
    }

    /// The one that the run has gone to.
    Result<> copy_member(const CopyItem& item, repo::StoredRun& run) const {
        if (item.file->block_incremental()) return copy_blocks(item, CHRONOS_TRY(run.hold()));
        return replace(item, [&run](TargetFile& target) { return run.read_whole(target); });
    }

    /// The blocks that differ from what is there.
    Result<> copy_blocks(const CopyItem& item, const repo::Repository& repository) const {
        const repo::ManifestFile& file = *item.file;
        const repo::BlockMap map =
            CHRONOS_TRY(repo::read_block_map(repository, stanza_, manifest_, file));
        const auto existing = plan_.delta ? CHRONOS_TRY(look_at_file(item.path)) : std::nullopt;
        const bool in_place = existing && existing->size > 0 && !existing->has_other_names;
        std::vector<bool> wanted;
        if (in_place) wanted = CHRONOS_TRY(differing_blocks(item, map));
        const auto content = [&](TargetFile& target) -> Result<> {
            CHRONOS_TRY(repo::read_blocks(repository, stanza_, manifest_, file, map, wanted,
                                          [&](std::uint64_t number, io::Bytes block) {
                                              return target.write_at(number * file.block_size,
                                                                     block);
                                          }));
            return target.finish();
        };
        if (!in_place) return replace(item, content);
        CHRONOS_TRY(TargetFile::amend(wanted_of(item), watch_, content));
        log_done(item, "restore file");
        return {};
    }

    /// Compares the file that is there with the map, block by block.
    Result<std::vector<bool>> differing_blocks(const CopyItem& item,
                                               const repo::BlockMap& map) const {
        const repo::ManifestFile& file = *item.file;
        std::vector<bool> wanted(map.size(), true);
        const os::FileDescriptor descriptor(::open(item.path.c_str(), O_RDONLY | O_CLOEXEC));
        if (descriptor.get() < 0)
            return system_error(ErrorKind::file_open, "unable to open '" + item.path + "'", errno);
        std::vector<std::byte> block(file.block_size);
        for (std::size_t i = 0; i < map.size(); ++i) {
            CHRONOS_TRY(watch_.cancel.check());
            const std::uint64_t offset = i * std::uint64_t{file.block_size};
            const std::size_t size = static_cast<std::size_t>(
                std::min<std::uint64_t>(file.block_size, file.size - offset));
            const ssize_t count =
                pread(descriptor.get(), block.data(), size, static_cast<off_t>(offset));
            if (count < 0)
                return system_error(ErrorKind::file_read, "unable to read '" + item.path + "'",
                                    errno);
            Activity::note();
            if (static_cast<std::size_t>(count) < size) break;
            const auto checksum = crypto::xxh3_128({block.data(), size});
            wanted[i] = !std::equal(checksum.begin(), checksum.begin() + file.block_checksum_size,
                                    map[i].checksum.begin());
        }
        return wanted;
    }

    const CopyRequest& request_;
    const RestorePlan& plan_;
    const repo::Repository& repository_;
    const repo::Manifest& manifest_;
    const std::string& stanza_;
    Meter& meter_;
    CopyWatch watch_;
};

bool fits(const CopyUnit& unit, const repo::ManifestFile& next) {
    const repo::ManifestFile& first = *unit.items.front().file;
    const repo::ManifestFile& last = *unit.items.back().file;
    if (next.bundle_id != first.bundle_id || next.reference != first.reference) return false;
    if (next.bundle_offset > last.bundle_offset + last.repo_size + kRunGapMax) return false;
    return unit.items.size() < kRunFilesMax && unit.size_bytes + next.size <= kRunSizeMax &&
           next.bundle_offset + next.repo_size - first.bundle_offset <= kRunStoredMax;
}

/// Cuts the files into units, the largest first: so that no thread is left alone with a large
/// file at the end.
std::vector<CopyUnit> make_units(std::vector<CopyItem> items) {
    std::vector<CopyItem> members;
    std::vector<CopyUnit> units;
    CopyUnit empty;
    const auto add = [&](CopyItem& item) {
        CopyUnit unit;
        unit.size_bytes = item.file->size;
        unit.items.push_back(std::move(item));
        units.push_back(std::move(unit));
    };
    for (CopyItem& item : items) {
        if (has_content(item) && item.file->bundled())
            members.push_back(std::move(item));
        else if (has_content(item))
            add(item);
        else
            empty.items.push_back(std::move(item));
    }
    std::sort(members.begin(), members.end(), [](const CopyItem& a, const CopyItem& b) {
        return std::tie(a.file->reference, a.file->bundle_id, a.file->bundle_offset) <
               std::tie(b.file->reference, b.file->bundle_id, b.file->bundle_offset);
    });
    CopyUnit* run = nullptr;
    for (CopyItem& item : members) {
        if (run == nullptr || !fits(*run, *item.file)) {
            add(item);
            run = &units.back();
            run->bundle_run = true;
            continue;
        }
        run->size_bytes += item.file->size;
        run->items.push_back(std::move(item));
    }
    std::stable_sort(units.begin(), units.end(),
                     [](const auto& a, const auto& b) { return a.size_bytes > b.size_bytes; });
    if (!empty.items.empty()) units.push_back(std::move(empty));
    return units;
}

/// Goes on with another repository when one fails in the middle of a restore.
///
/// A backup of the same label, made between the same positions of the WAL, serves file by file: the
/// WAL makes any copy consistent that was taken between them. It is looked for when it is needed.
class Fallback {
public:
    Fallback(const CopyRequest& request, const Cancellation& cancel, Meter& meter)
        : request_(request), plan_(*request.plan), cancel_(cancel), meter_(meter) {}

    /// The repository of the plan cannot be reached any more: to wait for that once is enough.
    bool first_is_away() const { return first_is_away_.load(std::memory_order_relaxed); }

    /// Copies the unit, whose copy from the first repository has failed with `error`, from another
    /// one. That error if no other has it.
    Result<> copy(const CopyUnit& unit, Error error);

private:
    struct Other {
        const repo::Repository* repository;
        repo::Manifest manifest;
    };
    static bool may_help(const Error& error);
    const std::vector<Other>& others();
    Result<> copy_from(const Other& other, const CopyUnit& unit) const;

    const CopyRequest& request_;
    const RestorePlan& plan_;
    const Cancellation& cancel_;
    Meter& meter_;
    std::atomic<bool> first_is_away_{false};
    std::once_flag loaded_;
    std::vector<Other> others_;
};

/// What went wrong where the files are written goes wrong again.
bool Fallback::may_help(const Error& error) {
    return error.kind() != ErrorKind::cancelled && error.kind() != ErrorKind::file_write &&
           error.kind() != ErrorKind::memory;
}

Result<> Fallback::copy(const CopyUnit& unit, Error error) {
    if (request_.request->repositories.size() < 2 || !may_help(error)) return error;
    // Of thousands of files that the other one serves from then on the first few are worth a
    // warning.
    const LogLevel level = first_is_away() ? LogLevel::detail : LogLevel::warn;
    for (const Other& other : others()) {
        Result<> copied = copy_from(other, unit);
        if (!copied && copied.error().kind() == ErrorKind::cancelled) return copied;
        const std::string name = "repo" + std::to_string(other.repository->key);
        if (!copied) {
            log_warn(name + " cannot stand in: " + copied.error().message());
            continue;
        }
        if (error.transient()) first_is_away_ = true;
        log(level, "repo" + std::to_string(plan_.repo_key) + ": " + error.message() + "; " + name +
                       " stood in");
        return {};
    }
    return error;
}

const std::vector<Fallback::Other>& Fallback::others() {
    std::call_once(loaded_, [this] {
        for (const repo::Repository& repository : request_.request->repositories) {
            if (repository.key == plan_.repo_key) continue;
            Result<repo::Manifest> other =
                manifest_of_stand_in(*request_.request, plan_, repository);
            if (other)
                others_.push_back({&repository, *std::move(other)});
            else
                log_warn("repo" + std::to_string(repository.key) +
                         " cannot stand in: " + other.error().message());
        }
    });
    return others_;
}

Result<> Fallback::copy_from(const Other& other, const CopyUnit& unit) const {
    std::vector<CopyItem> items;
    for (const CopyItem& item : unit.items) {
        const repo::ManifestFile* file = other.manifest.find_file(item.file->name);
        if (file == nullptr)
            return Error(ErrorKind::not_found, "it does not have '" + item.file->name + "'");
        items.push_back({file, item.path, item.zeroed, item.behind_link});
    }
    const Copier copier(request_, {*other.repository, other.manifest}, cancel_, meter_);
    for (const CopyUnit& part : make_units(std::move(items))) CHRONOS_TRY(copier.copy_unit(part));
    return {};
}

}  // namespace

Result<repo::Manifest> manifest_of_stand_in(const RestoreRequest& request, const RestorePlan& plan,
                                            const repo::Repository& repository) {
    const repo::Manifest& wanted = plan.manifest;
    const repo::BackupInfo info = CHRONOS_TRY(repo::load_backup_info(repository, request.stanza));
    if (info.find(wanted.label) == nullptr)
        return Error(ErrorKind::backup_set_invalid, "it has no backup " + wanted.label);
    repo::Manifest manifest = CHRONOS_TRY(
        repo::load_manifest(repository, request.stanza, wanted.label, info.cipher_pass));
    if (manifest.system_id != wanted.system_id || manifest.lsn_start != wanted.lsn_start ||
        manifest.lsn_stop != wanted.lsn_stop)
        return Error(ErrorKind::backup_set_invalid,
                     "its backup " + wanted.label + " was made at another time");
    return manifest;
}

Result<CopyResult> copy_files(const CopyRequest& request, const Cancellation& cancel) {
    const RestorePlan& plan = *request.plan;
    CopyResult result;
    std::vector<CopyItem> items;
    std::set<std::string_view> file_links;
    for (const repo::ManifestTarget& target : plan.manifest.targets)
        if (!target.file.empty()) file_links.insert(target.name);
    for (const repo::ManifestFile& file : plan.manifest.files) {
        if (is_never_restored(plan, file.name)) {
            if (file.name == "pg_data/tablespace_map")
                log_detail(
                    "skip 'tablespace_map' -- tablespace links will be created based on "
                    "mappings");
            continue;
        }
        CopyItem item{&file, path_of(plan.manifest, file.name),
                      is_zeroed(request.zeroed_databases, file.name) ||
                          (request.request->zeroed && request.request->zeroed(file.name)),
                      file_links.contains(file.name.view())};
        if (file.name == kControlFile) item.path += kControlTemporarySuffix;
        result.size_bytes += file.size;
        ++result.file_count;
        items.push_back(std::move(item));
    }
    const std::vector<CopyUnit> units = make_units(std::move(items));
    Meter meter(request.report, result.size_bytes, result.file_count);
    const repo::Repository& repository = request.request->repositories[plan.repository_index];
    const Copier copier(request, {repository, plan.manifest}, cancel, meter);
    Fallback fallback(request, cancel, meter);
    const auto copy = [&](const CopyUnit& unit) -> Result<> {
        Result<> copied = fallback.first_is_away()
                              ? Error(ErrorKind::host_connect, "is away").as_transient()
                              : copier.copy_unit(unit);
        return copied ? std::move(copied) : fallback.copy(unit, std::move(copied).error());
    };
    const storage::Storage& storage = *repository.storage;
    io::ByteBudget budget(storage::kBytesInFlightMax);
    CHRONOS_TRY(io::parallel_for(storage::workers_for(storage, request.request->process_max),
                                 units.size(), cancel, [&](std::size_t index) {
                                     const io::ByteBudget::Share share(
                                         budget, storage::cost_of_reading(storage,
                                                                          units[index].size_bytes));
                                     return copy(units[index]);
                                 }));
    meter.end();
    return result;
}

}  // namespace chronos::ops::restore
