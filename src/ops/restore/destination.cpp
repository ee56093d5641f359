#include "ops/restore/destination.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "chronos/base/log.h"
#include "chronos/os/durable.h"

namespace chronos::ops::restore {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMarker = "backup.manifest";
/// What global/pg_control is called while it is out of its place.
constexpr const char* kHiddenSuffix = ".chronos.aside";

/// The manifest by name: a directory is compared with it entry by entry.
class Index {
public:
    explicit Index(const repo::Manifest& manifest) : manifest_(manifest) {
        for (const auto& path : manifest.paths) paths_[path.name] = &path;
        for (const auto& link : manifest.links) links_[link.name] = &link;
    }
    const repo::ManifestFile* file(const std::string& name) const {
        return manifest_.find_file(name);
    }
    const repo::ManifestPath* path(const std::string& name) const { return find(paths_, name); }
    const repo::ManifestLink* link(const std::string& name) const { return find(links_, name); }

private:
    template <class Item>
    using Map = std::unordered_map<std::string, const Item*>;
    template <class Item>
    static const Item* find(const Map<Item>& map, const std::string& name) {
        const auto found = map.find(name);
        return found == map.end() ? nullptr : found->second;
    }
    const repo::Manifest& manifest_;
    Map<repo::ManifestPath> paths_;
    Map<repo::ManifestLink> links_;
};

Result<> set_attributes(const std::string& path, mode_t mode, const std::optional<Owner>& owner) {
    if (owner && chown(path.c_str(), owner->user, owner->group) != 0)
        return system_error(ErrorKind::file_owner, "unable to set owner of '" + path + "'", errno);
    if (chmod(path.c_str(), mode) != 0)
        return system_error(ErrorKind::file_mode, "unable to set mode of '" + path + "'", errno);
    return {};
}

Result<> make_directory(const std::string& path, mode_t mode, const std::optional<Owner>& owner) {
    if (mkdir(path.c_str(), mode) != 0) {
        if (errno != EEXIST)
            return system_error(ErrorKind::path_create, "unable to create path '" + path + "'",
                                errno);
    } else {
        log_detail("create path '" + path + "'");
    }
    return set_attributes(path, mode, owner);
}

/// The directory and those above it that are missing, which get the same mode.
Result<> make_directories(const std::string& path, mode_t mode) {
    struct stat status {};
    if (stat(path.c_str(), &status) == 0) return {};
    const std::string parent = fs::path(path).parent_path();
    if (!parent.empty() && parent != path) CHRONOS_TRY(make_directories(parent, mode));
    return make_directory(path, mode, std::nullopt);
}

/// Nothing can be removed from a directory that its owner has made read-only.
void open_directories(const std::string& path) {
    std::error_code code;
    if (!fs::is_directory(fs::symlink_status(path, code))) return;
    fs::permissions(path, fs::perms::owner_all, fs::perm_options::add, code);
    for (fs::directory_iterator at(path, code), end; !code && at != end; at.increment(code))
        open_directories(at->path());
}

Result<> remove_entry(const std::string& path) {
    std::error_code code;
    fs::remove_all(path, code);
    if (code == std::errc::permission_denied) {
        open_directories(path);
        fs::remove_all(path, code);
    }
    if (code)
        return system_error(ErrorKind::file_remove, "unable to remove '" + path + "'",
                            code.value());
    return {};
}

bool is_kept(const RestorePlan& plan, const std::string& name) {
    if (name == std::string("pg_data/") + kMarker) return true;
    if (plan.type != RecoveryType::preserve) return false;
    return name == "pg_data/postgresql.auto.conf" || name == "pg_data/recovery.signal" ||
           name == "pg_data/standby.signal" || name == "pg_data/recovery.conf";
}

class Cleaner {
public:
    Cleaner(const RestorePlan& plan, const Index& index, const Ownership& ownership)
        : plan_(plan), index_(index), ownership_(ownership) {
        for (const Destination& destination : destinations_of(plan.manifest))
            roots_.insert(destination.path);
    }

    Result<> clean(const std::string& name, const std::string& path) {
        std::error_code code;
        std::vector<fs::directory_entry> entries;
        for (fs::directory_iterator at(path, code), end; !code && at != end; at.increment(code))
            entries.push_back(*at);
        if (code)
            return system_error(ErrorKind::path_open, "unable to list path '" + path + "'",
                                code.value());
        for (const fs::directory_entry& entry : entries)
            CHRONOS_TRY(clean_entry(name + "/" + entry.path().filename().string(), entry));
        return {};
    }

private:
    Result<> clean_entry(const std::string& name, const fs::directory_entry& entry) {
        const fs::file_status status = entry.symlink_status();
        const std::string path = entry.path();
        if (fs::is_symlink(status)) {
            const repo::ManifestLink* link = index_.link(name);
            std::error_code code;
            if (link != nullptr && fs::read_symlink(path, code) == link->destination) return {};
            log_detail("remove link '" + path + "'");
            return remove_entry(path);
        }
        if (fs::is_directory(status)) {
            const repo::ManifestPath* known = index_.path(name);
            if (known == nullptr && is_file_systems_own(entry.path()) &&
                roots_.contains(fs::path(path).parent_path()))
                return {};
            if (known == nullptr || index_.link(name) != nullptr) {
                log_detail("remove invalid path '" + path + "'");
                return remove_entry(path);
            }
            CHRONOS_TRY(
                set_attributes(path, known->mode, ownership_.owner_of(known->user, known->group)));
            return clean(name, path);
        }
        const bool wanted = fs::is_regular_file(status) && index_.file(name) != nullptr &&
                            index_.link(name) == nullptr && !is_never_restored(plan_, name);
        if (wanted || is_kept(plan_, name)) return {};
        if (name == "pg_data/postmaster.pid") return refuse_running(fs::path(path).parent_path());
        log_detail("remove invalid file '" + path + "'");
        return remove_entry(path);
    }

    const RestorePlan& plan_;
    const Index& index_;
    const Ownership& ownership_;
    std::set<std::string> roots_;
};

/// Attributes of a directory that is outside of the data directory.
const repo::ManifestPath& attributes_of(const repo::Manifest& manifest, const Index& index,
                                        const Destination& destination) {
    const repo::ManifestPath* path = index.path(destination.name);
    if (path == nullptr) path = index.path("pg_data");
    return path != nullptr ? *path : manifest.paths.front();
}

Result<> make_links_and_directories(const RestorePlan& plan, const Index& index,
                                    const Ownership& ownership) {
    const repo::Manifest& manifest = plan.manifest;
    const auto make_link = [&](const repo::ManifestLink& link) -> Result<> {
        const std::string path = path_of(manifest, link.name);
        struct stat status {};
        if (lstat(path.c_str(), &status) == 0) return {};
        log_detail("create symlink '" + path + "' to '" + link.destination + "'");
        if (symlink(link.destination.c_str(), path.c_str()) != 0)
            return system_error(ErrorKind::path_create, "unable to create link '" + path + "'",
                                errno);
        const auto owner = ownership.owner_of(link.user, link.group);
        if (owner && lchown(path.c_str(), owner->user, owner->group) != 0)
            return system_error(ErrorKind::file_owner, "unable to set owner of '" + path + "'",
                                errno);
        return {};
    };
    const auto make_path = [&](const repo::ManifestPath& path) -> Result<> {
        if (const repo::ManifestLink* link = index.link(path.name)) return make_link(*link);
        return make_directory(path_of(manifest, path.name), path.mode,
                              ownership.owner_of(path.user, path.group));
    };
    // Sorted names: what contains something comes before it. The tablespace directories are
    // reached through the links in the data directory, so those come second to last.
    for (const repo::ManifestPath& path : manifest.paths)
        if (path.name.starts_with("pg_data")) CHRONOS_TRY(make_path(path));
    for (const repo::ManifestLink& link : manifest.links) CHRONOS_TRY(make_link(link));
    for (const repo::ManifestPath& path : manifest.paths)
        if (path.name.starts_with("pg_tblspc/")) CHRONOS_TRY(make_path(path));
    return {};
}

Error not_empty(const std::string& path) {
    return Error(ErrorKind::path_not_empty,
                 "unable to restore to path '" + path + "' because it contains files")
        .with_hint("try using --delta if this is what you intended.")
        .with_hint("--save-current moves them aside first.");
}

}  // namespace

Result<> refuse_running(const std::string& pg_path) {
    struct stat status {};
    const std::string path = pg_path + "/postmaster.pid";
    if (lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return {};
        return system_error(ErrorKind::file_info, "unable to look for '" + path + "'", errno);
    }
    return Error(ErrorKind::pg_running, "unable to restore while PostgreSQL is running")
        .with_hint("presence of 'postmaster.pid' in '" + pg_path +
                   "' indicates PostgreSQL is running.")
        .with_hint("remove 'postmaster.pid' only if PostgreSQL is not running.");
}

Result<StartBarrier> StartBarrier::close(const std::string& pg_path) {
    CHRONOS_TRY(refuse_running(pg_path));
    StartBarrier barrier;
    const std::string path = pg_path + "/global/pg_control";
    const std::string hidden = path + kHiddenSuffix;
    if (rename(path.c_str(), hidden.c_str()) == 0)
        barrier.hidden_ = hidden;
    else if (errno != ENOENT && errno != ENOTDIR)
        return system_error(ErrorKind::file_move, "unable to move '" + path + "' aside", errno);
    if (auto stopped = refuse_running(pg_path); !stopped) {
        CHRONOS_TRY(barrier.open(pg_path));
        return std::move(stopped).error();
    }
    return barrier;
}

Result<> StartBarrier::open(const std::string& pg_path) {
    if (hidden_.empty()) return {};
    const std::string path = pg_path + "/global/pg_control";
    if (rename((path + kHiddenSuffix).c_str(), path.c_str()) != 0)
        return system_error(ErrorKind::file_move,
                            "unable to rename '" + path + kHiddenSuffix + "' to '" + path + "'",
                            errno)
            .with_hint("Rename it by hand: without it that cluster cannot be started.");
    hidden_.clear();
    return os::sync_directory(pg_path + "/global");
}

Result<> StartBarrier::seal() {
    if (hidden_.empty()) return {};
    if (unlink(hidden_.c_str()) != 0)
        return system_error(ErrorKind::file_remove, "unable to remove '" + hidden_ + "'", errno);
    return os::sync_directory(fs::path(hidden_).parent_path());
}

bool is_never_restored(const RestorePlan& plan, std::string_view name) {
    // What the server was told, or said, in the life that it led then. No backup of ours has them;
    // one that was made otherwise would start as a standby, or not at all.
    constexpr std::array<std::string_view, 5> kOfThatLife{
        "pg_data/tablespace_map", "pg_data/recovery.signal", "pg_data/standby.signal",
        "pg_data/recovery.conf", "pg_data/postmaster.pid"};
    if (std::ranges::find(kOfThatLife, name) != kOfThatLife.end()) return true;
    // Nor what an instant restore noted of the directory that it made.
    if (name.starts_with("pg_data/.chronos-lazy/")) return true;
    return plan.type == RecoveryType::preserve && name == "pg_data/postgresql.auto.conf";
}

std::string content_path(const Destination& destination) {
    return destination.file.empty() ? destination.path : destination.path + "/" + destination.file;
}

bool has_content(const Destination& destination) {
    const std::string path = content_path(destination);
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) return errno != ENOENT;
    std::error_code code;
    if (!fs::is_directory(path, code)) return true;
    for (fs::directory_iterator at(path, code), end; !code && at != end; at.increment(code))
        if (!is_file_systems_own(at->path())) return true;
    return static_cast<bool>(code);
}

Result<> check_destination(const RestorePlan& plan, const Destination& destination) {
    log_detail("check '" + destination.path + "' exists");
    struct stat status {};
    if (stat(destination.path.c_str(), &status) != 0) {
        if (errno == ENOENT) return {};
        return system_error(ErrorKind::path_open,
                            "unable to restore to path '" + destination.path + "'", errno);
    }
    if (!S_ISDIR(status.st_mode))
        return Error(ErrorKind::path_open, "unable to restore to path '" + destination.path +
                                               "' which is not a directory");
    if (geteuid() != 0 && status.st_uid != geteuid())
        return Error(ErrorKind::path_open, "unable to restore to path '" + destination.path +
                                               "' not owned by current user");
    if ((status.st_mode & S_IRWXU) != S_IRWXU)
        return Error(ErrorKind::path_open, "unable to restore to path '" + destination.path +
                                               "' without rwx permissions");
    if (plan.delta || plan.force || plan.save_current) return {};
    if (!destination.file.empty()) {
        const std::string path = destination.path + "/" + destination.file;
        if (lstat(path.c_str(), &status) != 0) return {};
        return Error(ErrorKind::file_exists,
                     "unable to restore file '" + path + "' because it already exists")
            .with_hint("try using --delta if this is what you intended.");
    }
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(destination.path, code))
        if (!is_file_systems_own(entry.path()) &&
            (destination.name != "pg_data" || entry.path().filename() != kMarker))
            return not_empty(destination.path);
    if (code)
        return system_error(ErrorKind::path_open, "unable to list path '" + destination.path + "'",
                            code.value());
    return {};
}

Result<> prepare_destinations(const RestorePlan& plan, const Ownership& ownership) {
    const repo::Manifest& manifest = plan.manifest;
    const Index index(manifest);
    StartBarrier barrier = CHRONOS_TRY(StartBarrier::close(data_directory(manifest)));
    CHRONOS_TRY(barrier.seal());
    Cleaner cleaner(plan, index, ownership);
    for (const Destination& destination : destinations_of(manifest)) {
        const repo::ManifestPath& attributes = attributes_of(manifest, index, destination);
        struct stat status {};
        const bool exists = stat(destination.path.c_str(), &status) == 0;
        if (!exists) CHRONOS_TRY(make_directories(destination.path, attributes.mode));
        if (!destination.file.empty()) continue;
        if (exists && (plan.delta || plan.force)) {
            log_info("remove invalid files/links/paths from '" + destination.path + "'");
            CHRONOS_TRY(cleaner.clean(destination.name, destination.path));
        }
        CHRONOS_TRY(set_attributes(destination.path, attributes.mode,
                                   ownership.owner_of(attributes.user, attributes.group)));
    }
    return make_links_and_directories(plan, index, ownership);
}

}  // namespace chronos::ops::restore
