#include "storage/posix/posix_paths.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "chronos/base/activity.h"
#include "chronos/os/durable.h"
#include "chronos/storage/posix/posix_storage.h"

namespace chronos::storage {
namespace {

/// An entry of a directory and whether it is a directory itself.
struct Child {
    std::string name;
    bool is_directory = false;
};

bool is_directory_at(int directory_fd, const struct dirent& entry) {
    if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_DIR;
    struct stat stat {};
    return ::fstatat(directory_fd, entry.d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(stat.st_mode);
}

Result<std::vector<Child>> read_children(DIR* directory, const std::string& path) {
    std::vector<Child> children;
    for (;;) {
        errno = 0;
        const struct dirent* entry = ::readdir(directory);
        if (entry == nullptr) {
            if (errno != 0)
                return system_error(ErrorKind::path_open, "unable to list path '" + path + "'",
                                    errno);
            return children;
        }
        Activity::note();
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        children.push_back({std::string(name), is_directory_at(::dirfd(directory), *entry)});
    }
}

/// An invalid Directory (nullptr) if there is none of that name.
Result<Directory> open_directory_at(int parent_fd, const std::string& name,
                                    const std::string& path) {
    const int fd =
        ::openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR) return Directory{};
        return system_error(ErrorKind::path_open, "unable to open path '" + path + "'", errno);
    }
    Directory directory(::fdopendir(fd));
    if (!directory) {
        const int error_number = errno;
        ::close(fd);
        return system_error(ErrorKind::path_open, "unable to open path '" + path + "'",
                            error_number);
    }
    return directory;
}

Result<> remove_tree_at(int parent_fd, const std::string& name, const std::string& path) {
    Directory directory = CHRONOS_TRY(open_directory_at(parent_fd, name, path));
    if (!directory) return {};
    for (const Child& child : CHRONOS_TRY(read_children(directory.get(), path))) {
        const std::string child_path = path + "/" + child.name;
        if (child.is_directory) {
            CHRONOS_TRY(remove_tree_at(::dirfd(directory.get()), child.name, child_path));
        } else if (::unlinkat(::dirfd(directory.get()), child.name.c_str(), 0) != 0 &&
                   errno != ENOENT) {
            return system_error(ErrorKind::file_remove, "unable to remove '" + child_path + "'",
                                errno);
        }
    }
    if (::unlinkat(parent_fd, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
        return system_error(ErrorKind::path_remove, "unable to remove path '" + path + "'", errno);
    return {};
}

Result<> sync_tree_at(int parent_fd, const std::string& name, const std::string& path) {
    Directory directory = CHRONOS_TRY(open_directory_at(parent_fd, name, path));
    if (!directory) return {};
    for (const Child& child : CHRONOS_TRY(read_children(directory.get(), path)))
        if (child.is_directory)
            CHRONOS_TRY(
                sync_tree_at(::dirfd(directory.get()), child.name, path + "/" + child.name));
    return os::sync_directory(::dirfd(directory.get()), path);
}

Result<> make_one_path(const std::string& path, const PosixOptions& options) {
    if (::mkdir(path.c_str(), options.path_mode) != 0) {
        const int error_number = errno;
        struct stat stat {};
        if (error_number == EEXIST && ::stat(path.c_str(), &stat) == 0 && S_ISDIR(stat.st_mode))
            return {};
        return system_error(ErrorKind::path_create, "unable to create path '" + path + "'",
                            error_number);
    }
    // mkdir() applies the umask, which belongs to the whole process and so cannot be changed here.
    if (options.neutral_umask && ::chmod(path.c_str(), options.path_mode) != 0)
        return system_error(ErrorKind::path_create, "unable to set mode of path '" + path + "'",
                            errno);
    return {};
}

/// What is hidden from readers does not count.
Result<bool> is_used(const std::string& path) {
    const Directory directory(::opendir(path.c_str()));
    if (!directory)
        return system_error(ErrorKind::path_open, "unable to list path '" + path + "'", errno);
    for (;;) {
        errno = 0;
        const struct dirent* entry = ::readdir(directory.get());
        if (entry == nullptr && errno != 0)
            return system_error(ErrorKind::path_open, "unable to list path '" + path + "'", errno);
        if (entry == nullptr) return false;
        const std::string_view name = entry->d_name;
        if (name != "." && name != ".." && !name.ends_with(kTemporarySuffix)) return true;
    }
}

}  // namespace

Result<> make_path_and_parents(const std::string& path, const PosixOptions& options, bool durable,
                               const std::string& existing) {
    struct stat stat {};
    if (::stat(path.c_str(), &stat) == 0 && S_ISDIR(stat.st_mode))
        return durable ? sync_name_of_unused(path, existing) : Result<>();
    if (path == existing)
        return Error(ErrorKind::path_missing, "path '" + path + "' is not there")
            .with_hint("Is its disk mounted?")
            .as_transient();
    const std::string parent = os::parent_directory(path);
    if (parent != path) CHRONOS_TRY(make_path_and_parents(parent, options, durable, existing));
    CHRONOS_TRY(make_one_path(path, options));
    // Also when another thread was quicker: it may not have synced its directory yet.
    if (durable) return os::sync_directory(parent);
    return {};
}

Result<> sync_name_of_unused(const std::string& path, const std::string& existing) {
    if (existing.empty() || path == existing || CHRONOS_TRY(is_used(path))) return {};
    return os::sync_directory(os::parent_directory(path));
}

Result<> sync_directories(const std::string& path) {
    return sync_tree_at(AT_FDCWD, path, path);
}

Result<> remove_directory_tree(const std::string& path) {
    return remove_tree_at(AT_FDCWD, path, path);
}

}  // namespace chronos::storage
