#include "chronos/pgdata/cluster_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <set>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/exclude.h"
#include "pgdata/cluster_rules.h"
#include "pgdata/link_targets.h"
#include "pgdata/owner_names.h"
#include "pgdata/unreadable.h"

namespace chronos::pgdata {
namespace {

constexpr std::string_view kRoot = "pg_data";
constexpr std::string_view kTablespaceLinks = "pg_data/pg_tblspc";
constexpr std::string_view kWal = "pg_data/pg_wal";
constexpr mode_t kModeBits = 07777;

struct CloseDirectory {
    void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

/// A directory being walked.
struct Directory {
    std::string name;  ///< in the manifest
    std::string path;
    std::unique_ptr<DIR, CloseDirectory> stream;
    bool is_database = false;
    std::set<std::string_view> unlogged;  ///< relation numbers, views into `names`
    std::vector<std::string> names;       ///< of its entries, sorted
};

/// An entry of it.
struct Item {
    const std::string& file_name;
    std::string name;  ///< in the manifest
    std::string path;
    struct stat stat;
};

Error stat_error(const std::string& path, int error_number) {
    const std::string_view missing = error_number == ENOENT ? "missing " : "";
    return system_error(ErrorKind::file_open,
                        "unable to get info for " + std::string(missing) + "path/file '" +
                            printable(path, PATH_MAX) + "'",
                        error_number);
}

class ClusterWalk {
public:
    explicit ClusterWalk(const ClusterListRequest& request);
    Result<ClusterList> run();

private:
    Result<> walk(std::string name, std::string path, const struct stat& stat);
    Result<bool> open(Directory& directory, const struct stat& stat);
    Result<> read_names(Directory& directory);
    Result<> visit(const Directory& directory, const std::string& file_name);
    Result<> visit_link(const Directory& directory, Item item);
    Result<> visit_broken_link(const Item& item, int error_number);
    Result<> visit_tablespace(const Directory& directory, const Item& item);
    Result<> list_tablespace(const Directory& directory, const Item& item, std::uint32_t oid);
    Result<> list_in_place(const Item& item);
    Result<> link_tablespace(const Item& item, std::string destination, std::uint32_t oid);
    /// nullopt: there is none, and with it no tablespace any more.
    Result<std::optional<struct stat>> stat_version_directory(const std::string& tablespace);
    Result<> visit_item(const Directory& directory, Item item);
    bool skips(const Directory& directory, std::string_view file_name) const;
    bool cannot_be_stored(const Item& item);
    void leave_out(const Item& item, std::string reason);
    bool is_excluded(const Item& item);
    bool excludes_contents(const std::string& name, const std::string& path);
    void tell_what_matches_nothing();
    ClusterEntry make_entry(std::string_view name, const struct stat& stat);
    void add_link(const Item& item, std::string destination, bool to_file, std::uint32_t oid);
    void sort();

    ClusterListRequest request_;
    ClusterList list_;
    OwnerNames owners_;
    LinkTargets targets_;
    struct stat root_stat_ {};
    struct stat tablespace_links_stat_ {};
    Unreadable unreadable_;
    std::set<std::string_view> matched_;                     ///< views into the request's excludes
    std::optional<std::vector<std::uint32_t>> tablespaces_;  ///< nullopt: whatever looks like one
};

/// The oid that names a tablespace's entry, as the server reads it: without leading zeros.
std::optional<std::uint32_t> tablespace_oid(const std::string& file_name) {
    const auto oid = parse_uint(file_name);
    if (!oid || *oid == 0 || *oid > UINT32_MAX || file_name.front() == '0') return std::nullopt;
    return static_cast<std::uint32_t>(*oid);
}

ClusterWalk::ClusterWalk(const ClusterListRequest& request)
    : request_(request), targets_(request.pgdata) {}

Result<ClusterList> ClusterWalk::run() {
    CHRONOS_TRY(check_excludes(request_.exclude));
    if (::stat(request_.pgdata.c_str(), &root_stat_) != 0)
        return stat_error(request_.pgdata, errno);
    list_.paths.push_back(make_entry(kRoot, root_stat_));
    CHRONOS_TRY(walk(std::string(kRoot), request_.pgdata, root_stat_));
    CHRONOS_TRY(unreadable_.verdict());
    tell_what_matches_nothing();
    sort();
    return std::move(list_);
}

/// Everything below a directory, which itself is in the list already.
Result<> ClusterWalk::walk(std::string name, std::string path, const struct stat& stat) {
    if (excludes_contents(name, path) || has_skipped_contents(name, request_.online)) return {};
    Directory directory;
    directory.is_database = in_database_directory(name + "/x");
    directory.name = std::move(name);
    directory.path = std::move(path);
    const bool opened = CHRONOS_TRY(open(directory, stat));
    if (!opened) return {};
    CHRONOS_TRY(read_names(directory));
    if (directory.name == kTablespaceLinks && request_.tablespaces)
        tablespaces_ = CHRONOS_TRY(request_.tablespaces());
    for (const std::string& file_name : directory.names)
        if (!skips(directory, file_name)) CHRONOS_TRY(visit(directory, file_name));
    return {};
}

/// false if it has vanished, which a running server's directories do, or cannot be read.
Result<bool> ClusterWalk::open(Directory& directory, const struct stat& stat) {
    directory.stream.reset(::opendir(directory.path.c_str()));
    if (directory.stream) return true;
    if (errno == EACCES) {
        unreadable_.add(directory.path, &stat);
        return false;
    }
    if (errno == ENOENT && directory.name != kRoot) return false;
    return system_error(
        ErrorKind::path_open,
        "unable to list file info for path '" + printable(directory.path, PATH_MAX) + "'", errno);
}

Result<> ClusterWalk::read_names(Directory& directory) {
    for (;;) {
        errno = 0;
        const struct dirent* entry = ::readdir(directory.stream.get());
        if (entry == nullptr) break;
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") directory.names.emplace_back(name);
    }
    if (errno != 0)
        return system_error(
            ErrorKind::path_open,
            "unable to list file info for path '" + printable(directory.path, PATH_MAX) + "'",
            errno);
    std::ranges::sort(directory.names);
    if (!directory.is_database || request_.unlogged) return {};
    for (const std::string& name : directory.names)
        if (is_init_fork(name)) directory.unlogged.insert(relation_number(name));
    return {};
}

/// By the name alone, whatever it is.
bool ClusterWalk::skips(const Directory& directory, std::string_view file_name) const {
    if (is_temporary_name(file_name)) return true;
    if (!directory.is_database) return false;
    return is_skipped_database_file(file_name) ||
           (is_relation_file(file_name) && directory.unlogged.contains(relation_number(file_name)));
}

bool ClusterWalk::is_excluded(const Item& item) {
    for (const std::string& exclude : request_.exclude) {
        if (item.name != std::string(kRoot) + "/" + exclude) continue;
        matched_.insert(exclude);
        log_info("exclude '" + printable(item.path, PATH_MAX) + "' from backup using '" +
                 printable(exclude, PATH_MAX) + "' exclusion");
        if (excludes_configuration(exclude))
            log_warn("the server's '" + exclude +
                     "' is excluded: a restored cluster has none until you put it there");
        return true;
    }
    return false;
}

bool ClusterWalk::excludes_contents(const std::string& name, const std::string& path) {
    for (const std::string& exclude : request_.exclude) {
        if (name + "/" != std::string(kRoot) + "/" + exclude) continue;
        matched_.insert(exclude);
        log_info("exclude contents of '" + printable(path, PATH_MAX) + "' from backup using '" +
                 printable(exclude, PATH_MAX) + "' exclusion");
        return true;
    }
    return false;
}

/// What was meant to be left out and is not: an absolute path, a stray blank, a pattern.
void ClusterWalk::tell_what_matches_nothing() {
    for (const std::string& exclude : request_.exclude) {
        if (matched_.contains(exclude)) continue;
        std::string relative = exclude.substr(
            exclude.starts_with(request_.pgdata + "/") ? request_.pgdata.size() + 1 : 0);
        const std::string hint =
            relative == exclude
                ? "It is the path of one file or directory below the data directory, as 'log', or"
                  " 'log/' for all that is in it; there are no patterns."
                : "It is relative to the data directory: '" + printable(relative) + "'.";
        log_warn("exclude '" + printable(exclude) +
                 "' matches nothing that the backup would have\nHINT: " + hint);
    }
}

/// A file that is left out is told about, and so is a directory, with all that is in it.
void ClusterWalk::leave_out(const Item& item, std::string reason) {
    list_.left_out.push_back({item.path, std::move(reason)});
}

bool ClusterWalk::cannot_be_stored(const Item& item) {
    if (item.path.size() >= PATH_MAX) {
        leave_out(item, "its path is longer than the system can open");
        return true;
    }
    if (!request_.judge_name) return false;
    const Result<> verdict = request_.judge_name(item.name);
    if (!verdict) leave_out(item, verdict.error().message());
    return !verdict;
}

Result<> ClusterWalk::visit(const Directory& directory, const std::string& file_name) {
    Activity::note();
    Item item{file_name, directory.name + "/" + file_name, directory.path + "/" + file_name, {}};
    if (::fstatat(::dirfd(directory.stream.get()), file_name.c_str(), &item.stat,
                  AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return {};  // removed since readdir() saw it
        if (errno != EACCES) return stat_error(item.path, errno);
        unreadable_.add(item.path, nullptr);  // names of the directory can be read, no more
        return {};
    }
    if (is_excluded(item)) return {};
    if (S_ISDIR(item.stat.st_mode) && belongs_to_file_system(file_name)) {
        log_info("exclude '" + printable(item.path, PATH_MAX) +
                 "' from backup: it is the file system's own");
        return {};
    }
    if (is_instant_state(item.name)) return {};
    if (directory.name == kTablespaceLinks) return visit_tablespace(directory, item);
    if (cannot_be_stored(item)) return {};
    if (S_ISLNK(item.stat.st_mode)) return visit_link(directory, std::move(item));
    return visit_item(directory, std::move(item));
}

/// A file, a directory, or what a link leads to.
Result<> ClusterWalk::visit_item(const Directory& directory, Item item) {
    if (S_ISDIR(item.stat.st_mode)) {
        if (item.name == kTablespaceLinks) tablespace_links_stat_ = item.stat;
        list_.paths.push_back(make_entry(item.name, item.stat));
        return walk(std::move(item.name), std::move(item.path), item.stat);
    }
    if (!S_ISREG(item.stat.st_mode)) {
        log_warn("exclude special file '" + printable(item.path) + "' from backup");
        return {};
    }
    if (directory.name == kRoot && is_skipped_root_file(item.file_name, request_.major)) return {};
    if (directory.name == kWal && request_.online) return {};
    unreadable_.judge(::dirfd(directory.stream.get()), item.file_name, item.path, item.stat);
    list_.files.push_back(make_entry(item.name, item.stat));
    return {};
}

/// nullopt if the link has vanished.
Result<std::optional<std::string>> read_link(const Directory& directory, const Item& item) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t size = ::readlinkat(::dirfd(directory.stream.get()), item.file_name.c_str(),
                                      buffer.data(), buffer.size());
    if (size >= 0) return std::string(buffer.data(), static_cast<std::size_t>(size));
    if (errno == ENOENT) return std::optional<std::string>{};
    return stat_error(item.path, errno);
}

Result<> ClusterWalk::visit_link(const Directory& directory, Item item) {
    const std::optional<std::string> read = CHRONOS_TRY(read_link(directory, item));
    if (!read) return {};
    const std::string& destination = *read;
    const std::string absolute = absolute_destination(item.path, destination);
    struct stat stat {};
    if (::stat(item.path.c_str(), &stat) != 0) return visit_broken_link(item, errno);
    struct stat next {};
    if (::lstat(absolute.c_str(), &next) == 0 && S_ISLNK(next.st_mode))
        return Error(ErrorKind::link_destination, "link '" + printable(item.path, PATH_MAX) +
                                                      "' cannot reference another link '" +
                                                      printable(absolute, PATH_MAX) + "'")
            .with_hint(
                "Let it lead to where that one does, or leave it out of backups with the"
                " option exclude.");
    const bool to_file = !S_ISDIR(stat.st_mode);
    const std::size_t slash = absolute.rfind('/');
    CHRONOS_TRY(targets_.add(
        {.name = item.name.substr(kRoot.size() + 1),
         .directory = to_file ? absolute.substr(0, std::max<std::size_t>(slash, 1)) : absolute,
         .file = to_file ? absolute.substr(slash + 1) : ""}));
    add_link(item, destination, to_file, 0);
    item.stat = stat;
    return visit_item(directory, std::move(item));
}

/// What leads nowhere has nothing to be backed up. Where the server needs it, its file system is
/// away.
Result<> ClusterWalk::visit_broken_link(const Item& item, int error_number) {
    struct stat stat {};
    if (error_number == EACCES) {
        unreadable_.add(item.path, nullptr);
        return {};
    }
    if (error_number != ENOENT && error_number != ELOOP) return stat_error(item.path, error_number);
    if (::lstat(item.path.c_str(), &stat) != 0 && errno == ENOENT) return {};
    if (is_needed_by_server(item.name))
        return stat_error(item.path, error_number)
            .with_hint("The server needs what this link leads to: is its file system mounted?");
    leave_out(item, "it is a link that leads nowhere");
    return {};
}

/// The server takes an entry for a tablespace if its catalog has one of that oid, and ignores all
/// others: so nothing of the cluster is in them.
Result<> ClusterWalk::visit_tablespace(const Directory& directory, const Item& item) {
    const std::optional<std::uint32_t> oid = tablespace_oid(item.file_name);
    const bool may_be_one = S_ISLNK(item.stat.st_mode) || S_ISDIR(item.stat.st_mode);
    if (!oid)
        leave_out(item, "it is not named by the oid of a tablespace");
    else if (!may_be_one)
        leave_out(item, "it is neither a link nor a directory, so no tablespace");
    else if (tablespaces_ && std::ranges::find(*tablespaces_, *oid) == tablespaces_->end())
        leave_out(item, "the server has no tablespace of this oid");
    else
        return list_tablespace(directory, item, *oid);
    return {};
}

Result<> ClusterWalk::list_tablespace(const Directory& directory, const Item& item,
                                      std::uint32_t oid) {
    if (S_ISDIR(item.stat.st_mode)) return list_in_place(item);
    std::optional<std::string> destination = CHRONOS_TRY(read_link(directory, item));
    return destination ? link_tablespace(item, *std::move(destination), oid) : Result<>();
}

Result<std::optional<struct stat>> ClusterWalk::stat_version_directory(
    const std::string& tablespace) {
    const std::string path = tablespace + "/" + request_.tablespace_directory;
    struct stat stat {};
    if (::stat(path.c_str(), &stat) == 0) return std::optional(stat);
    const int error_number = errno;
    // Dropped while we looked: then its entry is gone as well.
    if (error_number == ENOENT && ::lstat(tablespace.c_str(), &stat) != 0 && errno == ENOENT)
        return std::optional<struct stat>{};
    if (error_number == EACCES) {
        unreadable_.add(path, nullptr);
        return std::optional<struct stat>{};
    }
    return stat_error(path, error_number)
        .with_hint("A tablespace of the server has lost its files: is its file system mounted?");
}

/// A tablespace that is a directory of the data directory (allow_in_place_tablespaces) is listed as
/// one: whoever restores needs to know nothing about it.
Result<> ClusterWalk::list_in_place(const Item& item) {
    const auto stat = CHRONOS_TRY(stat_version_directory(item.path));
    if (!stat) return {};
    const std::string contents = item.name + "/" + request_.tablespace_directory;
    list_.paths.push_back(make_entry(item.name, item.stat));
    list_.paths.push_back(make_entry(contents, *stat));
    return walk(contents, item.path + "/" + request_.tablespace_directory, *stat);
}

Result<> ClusterWalk::link_tablespace(const Item& item, std::string destination,
                                      std::uint32_t oid) {
    CHRONOS_TRY(targets_.add({.name = item.name.substr(kRoot.size() + 1),
                              .directory = absolute_destination(item.path, destination),
                              .file = ""}));
    const auto stat = CHRONOS_TRY(stat_version_directory(item.path));
    if (!stat) return {};
    add_link(item, std::move(destination), /*to_file=*/false, oid);
    const std::string name = "pg_tblspc/" + item.file_name;
    const std::string contents = name + "/" + request_.tablespace_directory;
    list_.paths.push_back(make_entry(name, tablespace_links_stat_));
    list_.paths.push_back(make_entry(contents, *stat));
    return walk(contents, item.path + "/" + request_.tablespace_directory, *stat);
}

ClusterEntry ClusterWalk::make_entry(std::string_view name, const struct stat& stat) {
    ClusterEntry entry;
    entry.name = name;
    if (S_ISREG(stat.st_mode)) entry.size = static_cast<std::uint64_t>(stat.st_size);
    entry.timestamp = stat.st_mtime;
    entry.mode = stat.st_mode & kModeBits;
    entry.user = owners_.user(stat.st_uid);
    entry.group = owners_.group(stat.st_gid);
    return entry;
}

/// Owner and group are those of the link, not of what it leads to.
void ClusterWalk::add_link(const Item& item, std::string destination, bool to_file,
                           std::uint32_t oid) {
    ClusterLink link;
    link.name = item.name;
    link.destination = std::move(destination);
    link.to_file = to_file;
    link.tablespace_oid = oid;
    link.user = owners_.user(item.stat.st_uid);
    link.group = owners_.group(item.stat.st_gid);
    list_.links.push_back(std::move(link));
}

void ClusterWalk::sort() {
    const bool has_tablespaces = std::ranges::any_of(
        list_.links, [](const ClusterLink& link) { return link.tablespace_oid != 0; });
    if (has_tablespaces) list_.paths.push_back(make_entry("pg_tblspc", root_stat_));
    std::ranges::sort(list_.files, {}, &ClusterEntry::name);
    std::ranges::sort(list_.paths, {}, &ClusterEntry::name);
    std::ranges::sort(list_.links, {}, &ClusterLink::name);
}

}  // namespace

Result<ClusterList> list_cluster(const ClusterListRequest& request) {
    ClusterListRequest normal = request;
    while (normal.pgdata.size() > 1 && normal.pgdata.ends_with('/')) normal.pgdata.pop_back();
    return ClusterWalk(normal).run();
}

}  // namespace chronos::pgdata
