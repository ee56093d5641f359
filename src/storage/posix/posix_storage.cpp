#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>

#include "chronos/base/activity.h"
#include "chronos/os/durable.h"
#include "chronos/storage/posix/posix_storage.h"
#include "chronos/storage/storage.h"
#include "storage/posix/posix_paths.h"
#include "storage/posix/posix_sink.h"
#include "storage/posix/posix_source.h"

namespace chronos::storage {
namespace {

class PosixStorage final : public Storage {
public:
    PosixStorage(std::string root, PosixOptions options)
        : root_(std::move(root)), options_(options) {
        look_at_root();
    }

    Features features() const override {
        return {.paths = true, .links = true, .atomic_rename = true};
    }
    std::string describe(const ObjectName& name) const override;
    Result<std::unique_ptr<io::Source>> open(const ObjectName& name, Range range) override;
    Result<std::unique_ptr<io::Sink>> create(const ObjectName& name, WriteMode mode) override;
    Result<std::optional<Entry>> info(const ObjectName& name) override;
    Result<std::vector<Entry>> list(const ObjectName& directory,
                                    const std::string& name_prefix) override;
    Result<std::vector<Entry>> list_tree(const ObjectName& directory) override;
    Result<> remove(const ObjectName& name) override;
    Result<> remove_tree(const ObjectName& directory) override;
    Result<> make_path(const ObjectName& directory) override;
    Result<> make_link(const ObjectName& name, const std::string& destination) override;
    Result<> sync_tree(const ObjectName& directory) override;

private:
    Result<std::string> object_path(const ObjectName& name) const;
    Result<std::string> directory_path(const ObjectName& name) const;
    Result<> sync_parents(const std::string& path) const;
    /// Only make_path("") makes the root, and not one that was there once: a file system that is
    /// not mounted must not be taken for an empty repository.
    std::string look_at_root() {
        struct stat stat {};
        if (!root_seen_ && !root_.empty() && ::stat(root_.c_str(), &stat) == 0) root_seen_ = true;
        return root_seen_ ? root_ : "";
    }

    std::string root_;  ///< "" for the root directory of the machine
    PosixOptions options_;
    os::FileSystems file_systems_;
    WrittenFiles written_files_;
    std::atomic<bool> root_seen_ = false;
};

EntryType entry_type(mode_t mode) {
    if (S_ISREG(mode)) return EntryType::file;
    if (S_ISDIR(mode)) return EntryType::path;
    if (S_ISLNK(mode)) return EntryType::link;
    return EntryType::special;
}

Result<std::string> read_link_at(int directory_fd, const char* name, const std::string& path) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t count = ::readlinkat(directory_fd, name, buffer.data(), buffer.size());
    if (count < 0)
        return system_error(ErrorKind::file_info, "unable to read link '" + path + "'", errno);
    return std::string(buffer.data(), static_cast<std::size_t>(count));
}

/// nullopt if there is nothing of that name. `path` is for messages.
Result<std::optional<Entry>> entry_at(int directory_fd, const char* name, const std::string& path) {
    struct stat stat {};
    if (::fstatat(directory_fd, name, &stat, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return std::optional<Entry>{};
        return system_error(ErrorKind::file_info, "unable to get info for '" + path + "'", errno);
    }
    // Whoever moved a file elsewhere and left a link has it: open() follows, too.
    if (struct stat target{}; S_ISLNK(stat.st_mode) &&
                              ::fstatat(directory_fd, name, &target, 0) == 0 &&
                              S_ISREG(target.st_mode))
        stat = target;
    Entry entry;
    entry.type = entry_type(stat.st_mode);
    if (entry.type == EntryType::file) entry.size = static_cast<std::uint64_t>(stat.st_size);
    entry.modified = stat.st_mtime;
    if (entry.type == EntryType::link)
        entry.link_destination = CHRONOS_TRY(read_link_at(directory_fd, name, path));
    return std::optional<Entry>(std::move(entry));
}

bool is_hidden(std::string_view name) {
    return name == "." || name == ".." || name.ends_with(kTemporarySuffix);
}

/// In the order of the directory; no entries if there is no such directory.
Result<std::vector<Entry>> read_directory(const std::string& path, std::string_view name_prefix) {
    std::vector<Entry> entries;
    const Directory directory(::opendir(path.c_str()));
    if (!directory) {
        if (errno == ENOENT || errno == ENOTDIR) return entries;
        return system_error(ErrorKind::path_open, "unable to list path '" + path + "'", errno);
    }
    for (;;) {
        errno = 0;
        const struct dirent* found = ::readdir(directory.get());
        if (found == nullptr) break;
        Activity::note();
        const std::string_view name = found->d_name;
        if (is_hidden(name) || !name.starts_with(name_prefix)) continue;
        auto entry = CHRONOS_TRY(
            entry_at(::dirfd(directory.get()), found->d_name, path + "/" + found->d_name));
        if (!entry) continue;  // removed since readdir() saw it
        entry->name = name;
        entries.push_back(std::move(*entry));
    }
    if (errno != 0)
        return system_error(ErrorKind::path_open, "unable to list path '" + path + "'", errno);
    return entries;
}

/// Appends the files below `path`, their names prefixed with `prefix`.
Result<> collect_files(const std::string& path, const std::string& prefix,
                       std::vector<Entry>& files) {
    for (Entry& entry : CHRONOS_TRY(read_directory(path, ""))) {
        if (entry.type == EntryType::path) {
            CHRONOS_TRY(collect_files(path + "/" + entry.name, prefix + entry.name + "/", files));
        } else if (entry.type == EntryType::file) {
            entry.name.insert(0, prefix);
            files.push_back(std::move(entry));
        }
    }
    return {};
}

void sort_by_name(std::vector<Entry>& entries) {
    std::ranges::sort(entries, {}, &Entry::name);
}

std::string PosixStorage::describe(const ObjectName& name) const {
    if (name.empty()) return root_.empty() ? "/" : root_;
    return root_ + "/" + name;
}

Result<std::string> PosixStorage::object_path(const ObjectName& name) const {
    if (!is_object_name(name))
        return Error(ErrorKind::format,
                     "invalid object name '" + name + "' below '" + describe("") + "'");
    return describe(name);
}

Result<std::string> PosixStorage::directory_path(const ObjectName& name) const {
    if (name.empty()) return describe("");
    return object_path(name);
}

Result<std::unique_ptr<io::Source>> PosixStorage::open(const ObjectName& name, Range range) {
    look_at_root();
    return open_posix_source(CHRONOS_TRY(object_path(name)), range);
}

Result<std::unique_ptr<io::Sink>> PosixStorage::create(const ObjectName& name, WriteMode mode) {
    const std::string path = CHRONOS_TRY(object_path(name));
    auto sink =
        CHRONOS_TRY(open_posix_sink(path, mode, options_, root_, file_systems_, written_files_));
    return sink;
}

Result<std::optional<Entry>> PosixStorage::info(const ObjectName& name) {
    look_at_root();
    const std::string path = CHRONOS_TRY(directory_path(name));
    auto entry = CHRONOS_TRY(entry_at(AT_FDCWD, path.c_str(), path));
    if (entry) entry->name = name;
    return entry;
}

Result<std::vector<Entry>> PosixStorage::list(const ObjectName& directory,
                                              const std::string& name_prefix) {
    const std::string path = CHRONOS_TRY(directory_path(directory));
    auto entries = CHRONOS_TRY(read_directory(path, name_prefix));
    sort_by_name(entries);
    return entries;
}

Result<std::vector<Entry>> PosixStorage::list_tree(const ObjectName& directory) {
    const std::string path = CHRONOS_TRY(directory_path(directory));
    std::vector<Entry> files;
    CHRONOS_TRY(collect_files(path, "", files));
    sort_by_name(files);
    return files;
}

Result<> PosixStorage::remove(const ObjectName& name) {
    const std::string path = CHRONOS_TRY(object_path(name));
    written_files_.forget(path);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR)
        return system_error(ErrorKind::file_remove, "unable to remove '" + path + "'", errno);
    return {};
}

Result<> PosixStorage::remove_tree(const ObjectName& directory) {
    const std::string path = CHRONOS_TRY(directory_path(directory));
    written_files_.forget(path);
    return remove_directory_tree(path);
}

Result<> PosixStorage::make_path(const ObjectName& directory) {
    const bool root = directory.empty();
    return make_path_and_parents(CHRONOS_TRY(directory_path(directory)), options_,
                                 /*durable=*/root, root ? look_at_root() : root_);
}

Result<> PosixStorage::make_link(const ObjectName& name, const std::string& destination) {
    const std::string path = CHRONOS_TRY(object_path(name));
    const std::string temporary = path + std::string(kTemporarySuffix);
    CHRONOS_TRY(
        make_path_and_parents(os::parent_directory(path), options_, /*durable=*/true, root_));
    // Made aside and renamed, so that there is a link at every moment.
    ::unlink(temporary.c_str());
    if (::symlink(destination.c_str(), temporary.c_str()) != 0)
        return system_error(ErrorKind::file_write, "unable to create link '" + path + "'", errno);
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        const int error_number = errno;
        ::unlink(temporary.c_str());
        return system_error(ErrorKind::file_move,
                            "unable to move '" + temporary + "' to '" + path + "'", error_number);
    }
    return os::sync_directory(os::parent_directory(path));
}

/// The entries that lead from the root to `path`.
Result<> PosixStorage::sync_parents(const std::string& path) const {
    for (std::string parent = path; parent.size() > root_.size() && parent != "/";) {
        parent = os::parent_directory(parent);
        CHRONOS_TRY(os::sync_directory(parent));
    }
    return {};
}

Result<> PosixStorage::sync_tree(const ObjectName& directory) {
    const std::string path = CHRONOS_TRY(directory_path(directory));
    struct stat stat {};
    if (::stat(path.c_str(), &stat) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return {};
        return system_error(ErrorKind::path_open, "unable to get info for '" + path + "'", errno);
    }
    if (!CHRONOS_TRY(written_files_.sync_below(path))) {
        const bool covered = CHRONOS_TRY(file_systems_.watch(stat.st_dev, path));
        CHRONOS_TRY(file_systems_.sync());
        written_files_.clear();
        if (covered) return {};
    }
    // The files are durable; what is left are the names that lead to them.
    CHRONOS_TRY(sync_directories(path));
    return sync_parents(path);
}

}  // namespace

std::unique_ptr<Storage> make_posix_storage(std::string root, PosixOptions options) {
    while (root.ends_with('/')) root.pop_back();
    return std::make_unique<PosixStorage>(std::move(root), options);
}

}  // namespace chronos::storage
