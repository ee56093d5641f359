#include "ops/restore/durability.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <set>
#include <utility>

#include "chronos/base/activity.h"

namespace chronos::ops::restore {
namespace {

/// statfs() magic numbers of file systems whose syncfs() writes all and reports errors.
constexpr std::array<unsigned long, 8> kTrustedFileSystems{
    0xEF53,      // ext2, ext3, ext4
    0x58465342,  // xfs
    0x9123683E,  // btrfs
    0xF2F52010,  // f2fs
    0x2FC12FC1,  // zfs
    0xCA451A4E,  // bcachefs
    0x01021994,  // tmpfs
    0x794C7630,  // overlayfs, which passes it to the file system below
};

bool kernel_reports_syncfs_errors() {
    utsname name{};
    unsigned major = 0, minor = 0;
    if (uname(&name) != 0 || std::sscanf(name.release, "%u.%u", &major, &minor) != 2) return false;
    return major > 5 || (major == 5 && minor >= 8);
}

bool is_trusted(int descriptor) {
    struct statfs status {};
    if (fstatfs(descriptor, &status) != 0) return false;
    return std::find(kTrustedFileSystems.begin(), kTrustedFileSystems.end(),
                     static_cast<unsigned long>(status.f_type)) != kTrustedFileSystems.end();
}

}  // namespace

Result<Barrier> Barrier::open(const std::vector<std::string>& roots) {
    Barrier barrier;
    barrier.per_file_ = !kernel_reports_syncfs_errors();
    std::set<dev_t> seen;
    for (const std::string& root : roots) {
        const int descriptor = ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (descriptor < 0)
            return system_error(ErrorKind::path_open, "unable to open path '" + root + "'", errno);
        struct stat status {};
        fstat(descriptor, &status);
        if (!seen.insert(status.st_dev).second) {
            ::close(descriptor);
            continue;
        }
        barrier.file_systems_.push_back({descriptor, root});
        if (!is_trusted(descriptor)) barrier.per_file_ = true;
    }
    return barrier;
}

Barrier::Barrier(Barrier&& other) noexcept
    : file_systems_(std::exchange(other.file_systems_, {})), per_file_(other.per_file_) {}

Barrier::~Barrier() {
    for (const FileSystem& file_system : file_systems_) ::close(file_system.descriptor);
}

Result<> Barrier::sync(const std::vector<std::string>& directories) const {
    if (per_file_) {
        for (const std::string& directory : directories) CHRONOS_TRY(sync_path(directory));
        return {};
    }
    for (const FileSystem& file_system : file_systems_) {
        const Activity::LongCall writing_back;
        if (syncfs(file_system.descriptor) != 0)
            return system_error(ErrorKind::file_sync,
                                "unable to sync the file system of '" + file_system.path + "'",
                                errno);
    }
    return {};
}

Result<> sync_path(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const Activity::LongCall writing_back;
    const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
    const int error_number = errno;
    if (descriptor >= 0) ::close(descriptor);
    if (!synced)
        return system_error(ErrorKind::path_sync, "unable to sync '" + path + "'", error_number);
    return {};
}

}  // namespace chronos::ops::restore
