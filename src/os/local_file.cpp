#include "chronos/os/local_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <vector>

namespace chronos::os {
namespace {

/// Only a process that is root has something to give away.
class Gifts {
public:
    void set_owner(const std::string& directory) {
        const std::lock_guard lock(mutex_);
        directory_ = directory;
        give();
    }
    void add(const std::string& path) {
        if (::geteuid() != 0) return;
        const std::lock_guard lock(mutex_);
        made_.push_back(path);
        give();
    }

private:
    void give() {
        struct stat owner = {};
        if (::geteuid() != 0 || directory_.empty() || ::stat(directory_.c_str(), &owner) != 0 ||
            owner.st_uid == 0)
            return;
        for (const std::string& path : made_) {
            struct stat made = {};
            // Still what was made here: others may write to directories above it.
            if (::lstat(path.c_str(), &made) == 0 && made.st_uid == 0 &&
                (S_ISDIR(made.st_mode) || (S_ISREG(made.st_mode) && made.st_nlink == 1)))
                (void)!::lchown(path.c_str(), owner.st_uid, owner.st_gid);
        }
        made_.clear();
    }

    std::mutex mutex_;
    std::string directory_;
    std::vector<std::string> made_;
};

Gifts& gifts() {
    static Gifts instance;
    return instance;
}

}  // namespace

Result<> make_local_path(const std::string& path, mode_t mode) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
    const std::size_t slash = path.rfind('/');
    if (slash != std::string::npos && slash > 0)
        CHRONOS_TRY(make_local_path(path.substr(0, slash), mode));
    // Nobody gets in before the mode is what it is to be.
    if (::mkdir(path.c_str(), mode & 0700) != 0) {
        const int error_number = errno;
        if (error_number == EEXIST && ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
            return {};
        return system_error(ErrorKind::path_create, "unable to create path '" + path + "'",
                            error_number);
    }
    if (::chmod(path.c_str(), mode) != 0)
        return system_error(ErrorKind::path_create, "unable to set mode of path '" + path + "'",
                            errno);
    gifts().add(path);
    return {};
}

FileDescriptor open_local_file(const std::string& path, int flags, mode_t mode) {
    constexpr int kAttempts = 10;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        FileDescriptor file(
            ::open(path.c_str(), flags | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0700));
        if (file.valid()) {
            (void)!::fchmod(file.get(), mode);
            gifts().add(path);
            return file;
        }
        if (errno != EEXIST) return file;
        file = FileDescriptor(::open(path.c_str(), (flags & ~O_CREAT) | O_CLOEXEC));
        // Removed between the two.
        if (file.valid() || errno != ENOENT) return file;
    }
    return FileDescriptor();
}

void give_local_files_to_owner_of(const std::string& directory) {
    gifts().set_owner(directory);
}

}  // namespace chronos::os
