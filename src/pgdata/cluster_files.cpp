#include "chronos/pgdata/cluster_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "pgdata/cluster_rules.h"
#include "pgdata/link_targets.h"
#include "pgdata/owner_names.h"

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
    return system_error(
        ErrorKind::file_open,
        "unable to get info for " + std::string(missing) + "path/file '" + path + "'",
        error_number);
}

class ClusterWalk {
public:
    explicit ClusterWalk(const ClusterListRequest& request);
    Result<ClusterList> run();

private:
    Result<> walk(std::string name, std::string path);
    Result<bool> open(Directory& directory);
    Result<> read_names(Directory& directory);
    Result<> visit(const Directory& directory, const std::string& file_name);
    Result<> visit_link(const Directory& directory, Item item);
    Result<> visit_tablespace(const Item& item, const std::string& destination);
    Result<> visit_item(const Directory& directory, Item item);
    bool skips(const Directory& directory, std::string_view file_name) const;
    bool is_excluded(const Item& item) const;
    bool excludes_contents(const std::string& name, const std::string& path) const;
    ClusterEntry make_entry(std::string_view name, const struct stat& stat);
    void add_link(const Item& item, std::string destination, bool to_file, std::uint32_t oid);
    void sort();

    ClusterListRequest request_;
    ClusterList list_;
    OwnerNames owners_;
    LinkTargets targets_;
    struct stat root_stat_ {};
    struct stat tablespace_links_stat_ {};
};

ClusterWalk::ClusterWalk(const ClusterListRequest& request)
    : request_(request), targets_(request.pgdata) {}

Result<ClusterList> ClusterWalk::run() {
    if (::stat(request_.pgdata.c_str(), &root_stat_) != 0)
        return stat_error(request_.pgdata, errno);
    list_.paths.push_back(make_entry(kRoot, root_stat_));
    CHRONOS_TRY(walk(std::string(kRoot), request_.pgdata));
    sort();
    return std::move(list_);
}

/// Everything below a directory, which itself is in the list already.
Result<> ClusterWalk::walk(std::string name, std::string path) {
    if (has_skipped_contents(name, request_.online) || excludes_contents(name, path)) return {};
    Directory directory;
    directory.is_database = in_database_directory(name + "/x");
    directory.name = std::move(name);
    directory.path = std::move(path);
    const bool opened = CHRONOS_TRY(open(directory));
    if (!opened) return {};
    CHRONOS_TRY(read_names(directory));
    for (const std::string& file_name : directory.names)
        if (!skips(directory, file_name)) CHRONOS_TRY(visit(directory, file_name));
    return {};
}

/// false if it has vanished, which a running server's directories do.
Result<bool> ClusterWalk::open(Directory& directory) {
    directory.stream.reset(::opendir(directory.path.c_str()));
    if (directory.stream) return true;
    if (errno == ENOENT && directory.name != kRoot) return false;
    return system_error(ErrorKind::path_open,
                        "unable to list file info for path '" + directory.path + "'", errno);
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
        return system_error(ErrorKind::path_open,
                            "unable to list file info for path '" + directory.path + "'", errno);
    std::ranges::sort(directory.names);
    if (!directory.is_database) return {};
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

bool ClusterWalk::is_excluded(const Item& item) const {
    for (const std::string& exclude : request_.exclude) {
        if (item.name != std::string(kRoot) + "/" + exclude) continue;
        log_info("exclude '" + item.path + "' from backup using '" + exclude + "' exclusion");
        return true;
    }
    return false;
}

bool ClusterWalk::excludes_contents(const std::string& name, const std::string& path) const {
    for (const std::string& exclude : request_.exclude) {
        if (name + "/" != std::string(kRoot) + "/" + exclude) continue;
        log_info("exclude contents of '" + path + "' from backup using '" + exclude +
                 "' exclusion");
        return true;
    }
    return false;
}

Result<> ClusterWalk::visit(const Directory& directory, const std::string& file_name) {
    Item item{file_name, directory.name + "/" + file_name, directory.path + "/" + file_name, {}};
    if (::fstatat(::dirfd(directory.stream.get()), file_name.c_str(), &item.stat,
                  AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return {};  // removed since readdir() saw it
        return stat_error(item.path, errno);
    }
    if (is_excluded(item)) return {};
    if (directory.name == kTablespaceLinks && !S_ISLNK(item.stat.st_mode))
        return Error(ErrorKind::link_expected, "'" + item.name +
                                                   "' is not a symlink - pg_tblspc should "
                                                   "contain only symlinks");
    if (S_ISLNK(item.stat.st_mode)) return visit_link(directory, std::move(item));
    return visit_item(directory, std::move(item));
}

/// A file, a directory, or what a link leads to.
Result<> ClusterWalk::visit_item(const Directory& directory, Item item) {
    if (S_ISDIR(item.stat.st_mode)) {
        if (item.name == kTablespaceLinks) tablespace_links_stat_ = item.stat;
        list_.paths.push_back(make_entry(item.name, item.stat));
        return walk(std::move(item.name), std::move(item.path));
    }
    if (!S_ISREG(item.stat.st_mode)) {
        log_warn("exclude special file '" + item.path + "' from backup");
        return {};
    }
    if (directory.name == kRoot && is_skipped_root_file(item.file_name, request_.major)) return {};
    if (directory.name == kWal && request_.online) return {};
    list_.files.push_back(make_entry(item.name, item.stat));
    return {};
}

Result<> ClusterWalk::visit_link(const Directory& directory, Item item) {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t size = ::readlinkat(::dirfd(directory.stream.get()), item.file_name.c_str(),
                                      buffer.data(), buffer.size());
    if (size < 0) {
        if (errno == ENOENT) return {};
        return stat_error(item.path, errno);
    }
    const std::string destination(buffer.data(), static_cast<std::size_t>(size));
    if (directory.name == kTablespaceLinks) return visit_tablespace(item, destination);

    const std::string absolute = absolute_destination(item.path, destination);
    struct stat stat {};
    if (::lstat(absolute.c_str(), &stat) == 0 && S_ISLNK(stat.st_mode))
        return Error(ErrorKind::link_destination,
                     "link '" + item.path + "' cannot reference another link '" + absolute + "'");
    if (::stat(item.path.c_str(), &stat) != 0) return stat_error(item.path, errno);
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

Result<> ClusterWalk::visit_tablespace(const Item& item, const std::string& destination) {
    const auto oid = parse_uint(item.file_name);
    if (!oid || *oid == 0 || *oid > UINT32_MAX)
        return Error(ErrorKind::format,
                     "'" + item.name + "' is not named by the oid of a tablespace");
    CHRONOS_TRY(targets_.add({.name = item.name.substr(kRoot.size() + 1),
                              .directory = absolute_destination(item.path, destination),
                              .file = ""}));
    const std::string path = item.path + "/" + request_.tablespace_directory;
    struct stat stat {};
    if (::stat(path.c_str(), &stat) != 0) {
        const int error_number = errno;
        struct stat link {};
        // Dropped while we looked: then the link is gone as well.
        if (error_number == ENOENT && ::lstat(item.path.c_str(), &link) != 0 && errno == ENOENT)
            return {};
        return stat_error(path, error_number);
    }
    add_link(item, destination, /*to_file=*/false, static_cast<std::uint32_t>(*oid));
    const std::string name = "pg_tblspc/" + item.file_name;
    const std::string contents = name + "/" + request_.tablespace_directory;
    list_.paths.push_back(make_entry(name, tablespace_links_stat_));
    list_.paths.push_back(make_entry(contents, stat));
    return walk(contents, path);
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
