#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/archive/dropped.h"
#include "chronos/ops/archive/ready.h"
#include "chronos/os/durable.h"
#include "chronos/os/file.h"
#include "chronos/os/local_file.h"
#include "chronos/pgdata/wal.h"
#include "ops/archive/dropped_record.h"

namespace chronos::ops::archive {
namespace {

namespace fs = std::filesystem;

/// A line has less than a hundred bytes.
constexpr std::size_t kRecordSizeMax = std::size_t{256} << 20;

Result<os::FileDescriptor> open_file(const std::string& path, int flags) {
    os::FileDescriptor file(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid()) return system_error(ErrorKind::file_open, "open '" + path + "'", errno);
    return file;
}

Result<> write_durably(int file, const std::string& path, std::string_view text) {
    // One write: a line is there whole, or cut off and then passed over by the reader.
    const ssize_t count = ::write(file, text.data(), text.size());
    if (count != static_cast<ssize_t>(text.size()))
        return system_error(ErrorKind::file_write, "write '" + path + "'",
                            count < 0 ? errno : ENOSPC);
    return os::sync_file(file, path);
}

/// How many segments wait. Counted like pgBackRest: every one has the full size.
Result<std::uint64_t> count_ready_segments(const std::string& wal_path) {
    const std::string path = wal_path + "/archive_status";
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
    if (!directory) return system_error(ErrorKind::path_open, "open '" + path + "'", errno);
    std::uint64_t count = 0;
    while (const dirent* entry = ::readdir(directory.get())) {
        std::string_view name = entry->d_name;
        if (!name.ends_with(".ready")) continue;
        name.remove_suffix(6);
        if (pgdata::is_wal_segment(name) || pgdata::is_wal_partial(name)) ++count;
    }
    return count;
}

std::string directory_of(const DropSettings& settings) {
    const std::string all = settings.spool_path + "/chronos/" + settings.stanza + "/dropped";
    return settings.repo_key == 0 ? all : all + "/repo" + std::to_string(settings.repo_key);
}

Result<pgdata::WalHeader> header_of(const std::string& path) {
    const os::FileDescriptor file = CHRONOS_TRY(open_file(path, O_RDONLY));
    std::vector<std::byte> head(pgdata::kWalHeaderSize);
    if (::pread(file.get(), head.data(), head.size(), 0) != static_cast<ssize_t>(head.size()))
        return Error(ErrorKind::file_read, "unable to read the header of '" + path + "'");
    return pgdata::parse_wal_header(head);
}

/// In each, or the error of the first that has not taken it.
Result<> record_gap(const std::vector<ArchivePusher*>& pushers,
                    const repo::ClusterIdentity& cluster, const repo::WalGap& gap) {
    for (ArchivePusher* pusher : pushers) CHRONOS_TRY(pusher->record_gap(cluster, gap));
    return {};
}

}  // namespace

DroppedWal::DroppedWal(DropSettings settings)
    : settings_(std::move(settings)),
      directory_(directory_of(settings_)),
      record_(directory_ + "/segments") {}

Result<bool> DroppedWal::queue_exceeded(const std::string& path) const {
    if (!settings_.queue_max_bytes) return false;
    const std::uint64_t count = CHRONOS_TRY(count_ready_segments(os::parent_directory(path)));
    return count * CHRONOS_TRY(segment_size(path)) > *settings_.queue_max_bytes;
}

Result<std::uint64_t> DroppedWal::segment_size(const std::string& path) const {
    const std::string name = path.substr(path.rfind('/') + 1);
    if (pgdata::is_wal_segment(name) || pgdata::is_wal_partial(name)) {
        struct stat info = {};
        if (::stat(path.c_str(), &info) != 0)
            return system_error(ErrorKind::file_info, "get info of '" + path + "'", errno);
        return static_cast<std::uint64_t>(info.st_size);
    }
    if (settings_.pg_path.empty()) return 0;  // another file, of which nobody knows more
    return CHRONOS_TRY(pgdata::read_control_file(settings_.pg_path)).wal_segment_size;
}

Result<> DroppedWal::drop(const std::string& name, const std::string& path) {
    CHRONOS_TRY(os::make_local_path(directory_));
    if (pgdata::is_wal_segment(name))
        CHRONOS_TRY(record_segment(name, path));
    else if (!pgdata::is_wal_partial(name))  // a partial one is never asked for
        CHRONOS_TRY(keep_file(name, path));
    const std::string place =
        settings_.repo_key == 0 ? "" : " for repo" + std::to_string(settings_.repo_key);
    log_warn(
        "dropped WAL file '" + name + "'" + place + " because archive queue exceeded " +
        format_size(*settings_.queue_max_bytes) +
        "\nHINT: no backup taken before can be recovered across the gap: take a backup as soon "
        "as the repository is back.");
    return {};
}

Result<> DroppedWal::record_segment(const std::string& name, const std::string& path) {
    const pgdata::WalHeader header = CHRONOS_TRY(header_of(path));
    const os::FileDescriptor file = CHRONOS_TRY(open_file(record_, O_WRONLY | O_CREAT | O_APPEND));
    ::flock(file.get(), LOCK_EX);
    CHRONOS_TRY(write_durably(
        file.get(), record_,
        format_dropped({.time = unix_now(),
                        .cluster = {.system_id = header.system_id, .version = header.version},
                        .segment_size = header.segment_size,
                        .segment = name})));
    return os::sync_directory(directory_);
}

/// Timeline and backup history is small, and what is lost with it is not: a copy waits for the
/// repository.
Result<> DroppedWal::keep_file(const std::string& name, const std::string& path) {
    constexpr std::size_t kSizeMax = std::size_t{64} << 20;
    return os::write_whole(directory_ + "/" + name, CHRONOS_TRY(os::read_small(path, kSizeMax)));
}

void DroppedWal::report(const std::vector<ArchivePusher*>& pushers) {
    if (::access(directory_.c_str(), F_OK) != 0) return;
    const std::unique_lock lock(reporting_, std::try_to_lock);
    if (!lock) return;  // somebody is at it
    if (const Result<> done = report_segments(pushers); !done)
        log_detail("the gap is not recorded in the repository yet: " + done.error().message());
    report_files(pushers);
}

Result<> DroppedWal::report_segments(const std::vector<ArchivePusher*>& pushers) {
    const std::string text = CHRONOS_TRY(os::read_if_there(record_, kRecordSizeMax)).value_or("");
    if (text.empty()) return {};
    for (const auto& [cluster, gap] : gaps_of(text)) {
        const Result<> saved = record_gap(pushers, cluster, gap);
        // That of a cluster which the stanza has left behind is of no use to anybody.
        if (!saved && saved.error().kind() != ErrorKind::archive_mismatch) return saved.error();
        if (saved)
            log_warn("recorded in the repository that WAL is missing from " + gap.first + " to " +
                     gap.last);
    }
    const os::FileDescriptor file = CHRONOS_TRY(open_file(record_, O_RDWR));
    ::flock(file.get(), LOCK_EX);
    struct stat info = {};
    // A line that came meanwhile: next time all of it is written again, which changes nothing.
    if (::fstat(file.get(), &info) != 0 || info.st_size != static_cast<off_t>(text.size()))
        return {};
    if (::ftruncate(file.get(), 0) != 0)
        return system_error(ErrorKind::file_write, "truncate '" + record_ + "'", errno);
    return {};
}

void DroppedWal::report_files(const std::vector<ArchivePusher*>& pushers) {
    std::error_code code;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory_, code)) {
        const std::string name = entry.path().filename().string();
        if (!is_archivable_name(name)) continue;
        bool stored = true;
        for (ArchivePusher* pusher : pushers)
            if (!pusher->push(name, entry.path().string())) stored = false;
        if (stored) ::unlink(entry.path().c_str());
    }
}

}  // namespace chronos::ops::archive
