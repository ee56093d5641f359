#include "ops/mount/instant_places.h"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "chronos/pgdata/cluster_files.h"
#include "ops/mount/instant_tree.h"

namespace chronos::ops::mount {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOfData = "pg_data/";
constexpr std::string_view kRelations = "pg_data/base";

std::string real_path(const fs::path& path) {
    std::error_code failed;
    fs::path real = fs::weakly_canonical(path, failed);
    if (failed) real = path.lexically_normal();
    std::string text = real.string();
    while (text.size() > 1 && text.ends_with('/')) text.pop_back();
    return text;
}

bool is_below(const std::string& path, const std::string& directory) {
    return path.starts_with(directory) &&
           (path.size() == directory.size() || path[directory.size()] == '/' || directory == "/");
}

bool is_in(std::string_view name, std::string_view directory) {
    return name.starts_with(directory) &&
           (name.size() == directory.size() || name[directory.size()] == '/');
}

/// Where a link leads to, which may be said from the directory that it is in.
std::string destination_of(const repo::Manifest& manifest, const repo::ManifestTarget& target) {
    const auto data = std::ranges::find(manifest.targets, "pg_data", &repo::ManifestTarget::name);
    fs::path path = target.path;
    if (path.is_relative() && data != manifest.targets.end())
        path = (fs::path(data->path) / target.name.substr(kOfData.size())).parent_path() / path;
    return real_path(path);
}

/// Why nothing can be mounted over the directory of a tablespace; "" if something can.
std::string objection_to(const repo::Manifest& manifest, const repo::ManifestTarget& tablespace) {
    const std::string path = real_path(tablespace.path);
    if (path.find('\n') != std::string::npos) return "of its name";
    for (const repo::ManifestTarget& other : manifest.targets) {
        if (other.name == tablespace.name) continue;
        const std::string its = destination_of(manifest, other);
        if (is_below(path, its) || is_below(its, path)) return "it is not apart from " + its;
    }
    if (!has_user_attributes(path)) return "its file system has no attributes for users";
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) return "";
    // As whoever is not root may mount.
    if (::geteuid() != 0 && (status.st_uid != ::geteuid() || ::access(path.c_str(), W_OK) != 0))
        return "it belongs to another user";
    const std::string own =
        "PG_" + manifest.pg_version + "_" + std::to_string(manifest.catalog_version);
    std::error_code failed;
    for (fs::directory_iterator at(path, failed), end; !failed && at != end; at.increment(failed))
        if (const std::string name = at->path().filename().string();
            name != own && !pgdata::belongs_to_file_system(name))
            return "there is something else in it";
    return failed ? "it cannot be looked at" : "";
}

}  // namespace

InstantPlaces::InstantPlaces(const repo::Manifest& manifest) {
    for (const repo::ManifestTarget& target : manifest.targets) {
        if (target.name == "pg_data") continue;
        if (target.tablespace_oid != 0) {
            const std::string why = objection_to(manifest, target);
            if (why.empty())
                tablespaces.emplace(target.name, real_path(target.path));
            else
                notes.push_back("tablespace '" + target.path + "' is restored at once, because " +
                                why);
            continue;
        }
        const std::string link = target.name.substr(kOfData.size());
        const bool is_directory = target.file.empty();
        // What lies behind others is restored anyway, and a server goes there past the mount.
        if (is_directory && link != "global" && !is_in(target.name, kRelations)) continue;
        if (is_directory && link.find('\n') == std::string::npos &&
            (link == "global" || has_user_attributes(destination_of(manifest, target)))) {
            links.insert(link);
            continue;
        }
        at_once_.insert(target.name);
        if (is_directory)
            notes.push_back("what lies behind link '" + link +
                            "' is restored at once, because its file system has no attributes "
                            "for users");
    }
}

Result<> InstantPlaces::check() const {
    if (!at_once_.contains("pg_data/global/pg_control")) return {};
    return Error(ErrorKind::feature_not_supported, "global/pg_control is a link to another place")
        .with_hint("Restore without --instant.");
}

bool InstantPlaces::may_leave(std::string_view file) const {
    if (std::ranges::any_of(at_once_, [&](const std::string& name) { return is_in(file, name); }))
        return false;
    return is_in(file, kRelations) || !tablespace_of(file).empty();
}

std::string_view InstantPlaces::tablespace_of(std::string_view file) const {
    const auto found = std::ranges::find_if(
        tablespaces, [&](const auto& place) { return is_in(file, place.first); });
    return found == tablespaces.end() ? std::string_view() : found->first;
}

bool has_user_attributes(const std::string& path) {
    for (fs::path at = path;; at = at.parent_path()) {
        if (::getxattr(at.c_str(), InstantTree::kAttribute, nullptr, 0) >= 0) return true;
        const int error = errno;
        if (error != ENOENT && error != ENOTDIR) return error != ENOTSUP;
        if (at == at.parent_path()) return true;
    }
}

}  // namespace chronos::ops::mount
