#include "storage/posix/file_systems.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

#include <cerrno>
#include <cstdio>

#include "chronos/base/activity.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

namespace chronos::storage {
namespace {

/// Before Linux 5.8 syncfs() returned success whatever had happened to the data.
bool syncfs_reports_errors() {
    static const bool result = [] {
        struct utsname name {};
        int major = 0;
        int minor = 0;
        if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2)
            return false;
        return major > 5 || (major == 5 && minor >= 8);
    }();
    return result;
}

bool is_covered(int fd) {
    struct statfs stat {};
    if (!syncfs_reports_errors() || fstatfs(fd, &stat) != 0) return false;
    switch (static_cast<unsigned long>(stat.f_type)) {
        case EXT4_SUPER_MAGIC:
        case XFS_SUPER_MAGIC:
        case BTRFS_SUPER_MAGIC:
        case F2FS_SUPER_MAGIC: return true;
        default: return false;
    }
}

}  // namespace

Result<bool> FileSystems::watch(dev_t device, const std::string& directory) {
    const std::lock_guard lock(mutex_);
    const auto found = watched_.find(device);
    if (found != watched_.end()) return found->second.covered;

    os::FileDescriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid())
        return system_error(ErrorKind::path_open, "unable to open path '" + directory + "'", errno);
    const bool covered = is_covered(fd.get());
    watched_.emplace(device, Watched{directory, std::move(fd), covered});
    return covered;
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

}  // namespace chronos::storage
