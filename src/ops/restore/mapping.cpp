#include "ops/restore/mapping.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "chronos/base/text.h"

namespace chronos::ops::restore {
namespace {

constexpr std::string_view kDataPrefix = "pg_data/";

repo::ManifestTarget& data_target(repo::Manifest& manifest) {
    return *std::find_if(manifest.targets.begin(), manifest.targets.end(),
                         [](const auto& target) { return target.name == "pg_data"; });
}

/// "pg_stat" for "pg_data/pg_stat", other names as they are: what people call it.
std::string shown_name(const std::string& name) {
    return name.starts_with(kDataPrefix) ? name.substr(kDataPrefix.size()) : name;
}

repo::ManifestLink* find_link(repo::Manifest& manifest, const std::string& name) {
    for (repo::ManifestLink& link : manifest.links)
        if (link.name == name) return &link;
    return nullptr;
}

const repo::ManifestPath* find_path(const repo::Manifest& manifest, const std::string& name) {
    for (const repo::ManifestPath& path : manifest.paths)
        if (path.name == name) return &path;
    return nullptr;
}

/// The path for one tablespace; nullptr to leave it where it was.
Result<const std::string*> tablespace_path(const RestoreRequest& request,
                                           const repo::ManifestTarget& target) {
    const std::string oid = std::to_string(target.tablespace_oid);
    const auto by_name = request.tablespace_map.find(target.tablespace_name);
    const auto by_oid = request.tablespace_map.find(oid);
    const auto end = request.tablespace_map.end();
    if (by_name != end && by_oid != end && by_name->second != by_oid->second)
        return Error(ErrorKind::tablespace_map, "tablespace remapped by name '" +
                                                    target.tablespace_name + "' and id " + oid +
                                                    " with different paths");
    if (by_name != end) return &by_name->second;
    return by_oid != end ? &by_oid->second : nullptr;
}

Result<> check_tablespace_names(const RestoreRequest& request, const repo::Manifest& manifest) {
    for (const auto& mapped : request.tablespace_map) {
        const std::string& key = mapped.first;
        const bool known =
            std::any_of(manifest.targets.begin(), manifest.targets.end(), [&](const auto& target) {
                return target.tablespace_oid != 0 && (target.tablespace_name == key ||
                                                      std::to_string(target.tablespace_oid) == key);
            });
        if (!known)
            return Error(ErrorKind::tablespace_map,
                         "unable to remap invalid tablespace '" + key + "'");
    }
    return {};
}

Result<> map_tablespaces(const RestoreRequest& request, RestorePlan& plan) {
    CHRONOS_TRY(check_tablespace_names(request, plan.manifest));
    for (repo::ManifestTarget& target : plan.manifest.targets) {
        if (target.tablespace_oid == 0) continue;
        const std::string* path = CHRONOS_TRY(tablespace_path(request, target));
        if (path == nullptr && !request.tablespace_map_all.empty() &&
            (target.tablespace_name.find('/') != std::string::npos ||
             target.tablespace_name == "." || target.tablespace_name == ".."))
            return Error(ErrorKind::tablespace_map,
                         "tablespace '" + printable(target.tablespace_name) +
                             "' has a name that is no name of a directory")
                .with_hint("Give its place with --tablespace-map=" +
                           std::to_string(target.tablespace_oid) + "=...");
        if (path != nullptr)
            target.path = *path;
        else if (!request.tablespace_map_all.empty())
            target.path = request.tablespace_map_all + "/" + target.tablespace_name;
        else
            continue;
        if (repo::ManifestLink* link = find_link(plan.manifest, "pg_data/" + target.name))
            link->destination = target.path;
        plan.notes.push_back("map tablespace '" + target.name + "' to '" + target.path + "'");
    }
    return {};
}

Result<> set_file_destination(repo::ManifestTarget& target, const std::string& destination) {
    const std::size_t slash = destination.rfind('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == destination.size())
        return Error(ErrorKind::link_map, "'" + destination +
                                              "' is not long enough to be the destination for "
                                              "file link '" +
                                              shown_name(target.name) + "'");
    target.path = destination.substr(0, slash);
    target.file = destination.substr(slash + 1);
    return {};
}

/// The target for a link that the backup does not have, made of a directory or file that it has.
Result<repo::ManifestTarget> new_link_target(const repo::Manifest& manifest,
                                             const std::string& name,
                                             const std::string& destination) {
    repo::ManifestTarget target;
    target.name = name;
    target.is_link = true;
    if (find_path(manifest, name) != nullptr)
        target.path = destination;
    else if (manifest.find_file(name) != nullptr)
        CHRONOS_TRY(set_file_destination(target, destination));
    else
        return Error(ErrorKind::link_map, "unable to map link '" + shown_name(name) + "'")
            .with_hint("Does the link reference a valid backup path or file?");
    return target;
}

Result<> map_one_link(RestorePlan& plan, const std::string& key, const std::string& destination) {
    repo::Manifest& manifest = plan.manifest;
    const std::string name = std::string(kDataPrefix) + key;
    const auto target = std::find_if(
        manifest.targets.begin(), manifest.targets.end(),
        [&](const auto& candidate) { return candidate.is_link && candidate.name == name; });
    if (target == manifest.targets.end()) {
        manifest.targets.push_back(CHRONOS_TRY(new_link_target(manifest, name, destination)));
        manifest.links.push_back(
            {name, destination, manifest.defaults.user, manifest.defaults.group});
        std::sort(manifest.links.begin(), manifest.links.end(),
                  [](const auto& a, const auto& b) { return a.name < b.name; });
    } else {
        if (target->file.empty())
            target->path = destination;
        else
            CHRONOS_TRY(set_file_destination(*target, destination));
        if (repo::ManifestLink* link = find_link(manifest, name)) link->destination = destination;
    }
    plan.notes.push_back("map link '" + key + "' to '" + destination + "'");
    return {};
}

/// Links that nobody asked for become plain files and directories: their destinations may not
/// exist on this machine, or belong to another cluster.
void drop_other_links(const RestoreRequest& request, RestorePlan& plan) {
    std::set<std::string> dropped;
    for (const repo::ManifestTarget& target : plan.manifest.targets) {
        if (!target.is_link || target.tablespace_oid != 0) continue;
        const std::string name = shown_name(target.name);
        if (request.link_map.contains(name)) continue;
        dropped.insert(target.name);
        plan.warnings.push_back(target.file.empty()
                                    ? "contents of directory link '" + name +
                                          "' will be restored in a directory at the same location"
                                    : "file link '" + name +
                                          "' will be restored as a file at the same location");
    }
    std::erase_if(plan.manifest.targets,
                  [&](const auto& target) { return dropped.contains(target.name); });
    std::erase_if(plan.manifest.links,
                  [&](const auto& link) { return dropped.contains(link.name); });
}

/// The absolute path of a link's destination, which may be relative to the directory of the link.
std::string resolved_destination(const repo::Manifest& manifest,
                                 const repo::ManifestTarget& target) {
    std::filesystem::path path = target.path;
    if (path.is_relative())
        path = std::filesystem::path(path_of(manifest, target.name)).parent_path() / path;
    return path.lexically_normal().string();
}

bool is_below(const std::string& path, const std::string& directory) {
    return path.starts_with(directory) &&
           (path.size() == directory.size() || path[directory.size()] == '/' ||
            directory.ends_with('/'));
}

Error bad_pair(const repo::ManifestTarget& a, const char* relation, const repo::ManifestTarget& b) {
    const auto shown = [](const repo::ManifestTarget& target) {
        return "link '" + shown_name(target.name) + "' (" + target.path +
               (target.file.empty() ? "" : "/" + target.file) + ")";
    };
    return Error(ErrorKind::link_destination,
                 shown(a) + " destination is " + relation + " " + shown(b));
}

Result<> check_pair(const repo::Manifest& manifest, const repo::ManifestTarget& a,
                    const repo::ManifestTarget& b) {
    const std::string path_a = resolved_destination(manifest, a);
    const std::string path_b = resolved_destination(manifest, b);
    if (!a.file.empty() && !b.file.empty()) {
        if (path_a == path_b && a.file == b.file) return bad_pair(a, "the same file as", b);
        return {};
    }
    if (!a.file.empty() || !b.file.empty()) return {};
    if (path_a == path_b) return bad_pair(a, "the same directory as", b);
    if (is_below(path_a, path_b)) return bad_pair(a, "a subdirectory of", b);
    if (is_below(path_b, path_a)) return bad_pair(b, "a subdirectory of", a);
    return {};
}

Result<> check_links(const repo::Manifest& manifest) {
    const auto& targets = manifest.targets;
    for (std::size_t i = 0; i < targets.size(); ++i) {
        if (!targets[i].is_link) continue;
        const std::string path = resolved_destination(manifest, targets[i]);
        if (is_below(path, data_directory(manifest)))
            return Error(ErrorKind::link_destination, "link '" + shown_name(targets[i].name) +
                                                          "' destination '" + path +
                                                          "' is in PGDATA");
        // What a directory behind a link has and the backup does not is removed with --delta.
        if (targets[i].file.empty() && targets[i].tablespace_oid == 0 &&
            is_below(data_directory(manifest), path))
            return Error(ErrorKind::link_destination, "link '" + shown_name(targets[i].name) +
                                                          "' destination '" + path +
                                                          "' contains PGDATA");
        for (std::size_t j = 0; j < i; ++j)
            if (targets[j].is_link) CHRONOS_TRY(check_pair(manifest, targets[i], targets[j]));
    }
    return {};
}

}  // namespace

Result<> map_manifest(const RestoreRequest& request, RestorePlan& plan) {
    if (std::none_of(plan.manifest.targets.begin(), plan.manifest.targets.end(),
                     [](const auto& target) { return target.name == "pg_data"; }))
        return Error(ErrorKind::format,
                     "manifest of backup '" + plan.manifest.label + "' names no data directory");
    repo::ManifestTarget& data = data_target(plan.manifest);
    plan.original_pg_path = data.path;
    if (data.path != request.pg_path) {
        data.path = request.pg_path;
        plan.notes.push_back("remap data directory to '" + request.pg_path + "'");
    }
    CHRONOS_TRY(map_tablespaces(request, plan));
    for (const auto& [key, destination] : request.link_map)
        CHRONOS_TRY(map_one_link(plan, key, destination));
    if (!request.link_all) drop_other_links(request, plan);
    return check_links(plan.manifest);
}

std::string version_directory_of(const repo::Manifest& manifest) {
    return "PG_" + manifest.pg_version + "_" + std::to_string(manifest.catalog_version);
}

std::vector<Destination> other_tablespaces(const repo::Manifest& manifest,
                                           const std::string& pg_path) {
    namespace fs = std::filesystem;
    std::vector<Destination> others;
    std::error_code code;
    for (fs::directory_iterator at(pg_path + "/pg_tblspc", code), end; !code && at != end;
         at.increment(code)) {
        const auto oid = parse_uint(at->path().filename().native());
        std::error_code none;
        const fs::path location = fs::read_symlink(at->path(), none);
        if (!oid || !location.is_absolute() ||
            std::ranges::any_of(manifest.targets, [&](const repo::ManifestTarget& target) {
                return target.tablespace_oid == *oid;
            }))
            continue;
        others.push_back({"pg_tblspc/" + std::to_string(*oid),
                          (location / version_directory_of(manifest)).string(), ""});
    }
    return others;
}

std::vector<Destination> destinations_of(const repo::Manifest& manifest) {
    const std::string version_directory = version_directory_of(manifest);
    std::vector<Destination> destinations;
    for (const repo::ManifestTarget& target : manifest.targets) {
        if (!target.is_link)
            destinations.push_back({target.name, target.path, ""});
        else if (target.tablespace_oid != 0)
            destinations.push_back(
                {target.name + "/" + version_directory,
                 resolved_destination(manifest, target) + "/" + version_directory, ""});
        else
            destinations.push_back(
                {target.name, resolved_destination(manifest, target), target.file});
    }
    // The data directory first: everything else hangs from it.
    std::stable_partition(destinations.begin(), destinations.end(),
                          [](const auto& item) { return item.name == "pg_data"; });
    return destinations;
}

std::string path_of(const repo::Manifest& manifest, std::string_view name) {
    const std::string& root = data_directory(manifest);
    if (name == "pg_data") return root;
    if (name.starts_with(kDataPrefix)) name.remove_prefix(kDataPrefix.size());
    return root + "/" + std::string(name);
}

const std::string& data_directory(const repo::Manifest& manifest) {
    return std::find_if(manifest.targets.begin(), manifest.targets.end(),
                        [](const auto& target) { return target.name == "pg_data"; })
        ->path;
}

}  // namespace chronos::ops::restore
