#include "chronos/os/durable.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

#include "chronos/base/activity.h"
#include "chronos/base/text.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

namespace chronos::os {
namespace {

/// Whether syncfs() fails if anything was not written: data, which it tells since Linux 5.8
/// (735e4ae5ba28), and what the file system keeps about it, the errors of which it passes on since
/// 5.17 (5679897eb104; fstests xfs/546). Some distributions have the latter in older kernels, which
/// their number does not tell.
bool syncfs_reports_errors() {
    static const bool result = [] {
        struct utsname name {};
        if (uname(&name) != 0) return false;
        const std::string_view release = name.release;
        const std::size_t dot = release.find('.');
        if (dot == std::string_view::npos) return false;
        const auto major = parse_uint(release.substr(0, dot));
        const std::size_t end = release.find_first_not_of("0123456789", dot + 1);
        const auto minor = parse_uint(release.substr(dot + 1, end - dot - 1));
        return major && minor && (*major > 5 || (*major == 5 && *minor >= 17));
    }();
    return result;
}

/// The file systems on which one syncfs() may stand for an fsync() of each file. In doubt one is
/// not among them: then each file is synced, which is slower and nothing else.
///
/// Not among them:
/// - overlayfs: ovl_sync_fs() syncs the file system below, and a write-back that failed before is
///   recorded there and never in the superblock that syncfs() looks at. Seen on Linux 6.18, with an
///   xfs below whose device refused the data of twenty files: syncfs() of the overlay succeeded,
///   that of the xfs failed, and so did fsync() of every file. On ext4 it failed only because the
///   journal was aborted. Mounted "volatile" it does nothing at all.
/// - f2fs: f2fs_sync_fs() returns 0 after a checkpoint has failed, and while checkpoints are
///   disabled, where fsync() returns an error.
/// - zfs and bcachefs, of which nobody has looked at it; FUSE and network file systems, which
/// decide
///   for themselves.
/// - tmpfs keeps nothing, whatever is called, and costs nothing either.
bool is_covered(int fd) {
    struct statfs stat {};
    if (!syncfs_reports_errors() || ::fstatfs(fd, &stat) != 0) return false;
    switch (static_cast<unsigned long>(stat.f_type)) {
        case EXT4_SUPER_MAGIC:  // ext2 and ext3 as well
        case XFS_SUPER_MAGIC:
        case BTRFS_SUPER_MAGIC: return true;
        default: return false;
    }
}

Result<> sync_open(int fd, ErrorKind kind, const std::string& what) {
    const Activity::LongCall writing_back;
    if (::fsync(fd) != 0) return system_error(kind, "unable to sync " + what, errno);
    return {};
}

}  // namespace

std::string parent_directory(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

Result<> sync_file(int fd, const std::string& path) {
    return sync_open(fd, ErrorKind::file_sync, "'" + path + "'");
}

Result<> sync_directory(int fd, const std::string& path) {
    return sync_open(fd, ErrorKind::path_sync, "path '" + path + "'");
}

Result<> sync_directory(const std::string& path) {
    const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid())
        return system_error(ErrorKind::path_open, "unable to open path '" + path + "'", errno);
    return sync_directory(fd.get(), path);
}

void start_write_back(int fd, std::uint64_t from_bytes, std::uint64_t until_bytes) {
    ::sync_file_range(fd, static_cast<off_t>(from_bytes),
                      static_cast<off_t>(until_bytes - from_bytes), SYNC_FILE_RANGE_WRITE);
}

Result<> rename_file(const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) != 0)
        return system_error(ErrorKind::file_move, "unable to move '" + from + "' to '" + to + "'",
                            errno);
    return {};
}

Result<> publish(const std::string& temporary, const std::string& path) {
    CHRONOS_TRY(rename_file(temporary, path));
    return sync_directory(parent_directory(path));
}

Result<bool> FileSystems::watch(dev_t device, const std::string& directory) {
    const std::lock_guard lock(mutex_);
    const auto found = watched_.find(device);
    if (found != watched_.end()) return found->second.covered;

    FileDescriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid())
        return system_error(ErrorKind::path_open, "unable to open path '" + directory + "'", errno);
    const bool covered = is_covered(fd.get());
    watched_.emplace(device, Watched{directory, std::move(fd), covered});
    return covered;
}

Result<bool> FileSystems::watch(const std::string& directory) {
    struct stat status {};
    if (::stat(directory.c_str(), &status) != 0)
        return system_error(ErrorKind::path_open, "unable to open path '" + directory + "'", errno);
    return watch(status.st_dev, directory);
}

std::vector<const FileSystems::Watched*> FileSystems::covered() {
    const std::lock_guard lock(mutex_);
    std::vector<const Watched*> result;
    for (const auto& [device, watched] : watched_)
        if (watched.covered) result.push_back(&watched);
    return result;
}

Result<> FileSystems::sync() {
    const std::lock_guard lock(sync_mutex_);
    for (const Watched* watched : covered()) {
        if (failed_) break;
        const Activity::LongCall writing_back;
        if (::syncfs(watched->fd.get()) != 0)
            failed_ =
                system_error(ErrorKind::path_sync,
                             "unable to sync file system of '" + watched->directory + "'", errno);
    }
    if (failed_) return *failed_;
    return {};
}

}  // namespace chronos::os
