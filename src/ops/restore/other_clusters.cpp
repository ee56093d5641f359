#include "other_clusters.h"

#include <filesystem>
#include <fstream>

#include "chronos/base/text.h"
#include "chronos/pgdata/control_file.h"
#include "destination.h"

namespace chronos::ops {
namespace {

namespace fs = std::filesystem;

/// Whose data directory it is, for people; "" if it may be that of the backup.
std::string other_owner(const RestorePlan& plan, const std::string& pg_path) {
    const repo::Manifest& manifest = plan.manifest;
    if (const auto control = pgdata::read_control_file(pg_path)) {
        if (control->system_id == manifest.system_id && control->version == manifest.pg_version)
            return "";
        return "its system identifier is " + std::to_string(control->system_id) + " (PostgreSQL " +
               control->version + "), that of the backup " + std::to_string(manifest.system_id) +
               " (PostgreSQL " + manifest.pg_version + ")";
    }
    // Without that file, or with a damaged one, nobody can tell: that is what a restore may be for.
    // But no cluster ever had another version; pg_upgrade leaves such a directory.
    std::ifstream file(pg_path + "/PG_VERSION");
    std::string version;
    if (!(file >> version) || version == manifest.pg_version || version.size() > 8 ||
        version.find_first_not_of("0123456789.") != std::string::npos)
        return "";
    return "it is of PostgreSQL " + version + ", the backup of " + manifest.pg_version;
}

void guard_data_directory(const RestoreRequest& request, RestorePlan& plan) {
    if (!plan.delta && !plan.force) return;
    const std::string owner = other_owner(plan, request.pg_path);
    if (owner.empty()) return;
    const std::string text =
        "'" + request.pg_path + "' is the data directory of another cluster: " + owner;
    if (plan.force) {
        plan.warnings.push_back(text + "; all of it will be replaced, as --force says");
        plan.delta = false;  // a file of the same size and time is not the same file here
        return;
    }
    plan.problems.push_back(
        {Error(ErrorKind::db_mismatch, text)
             .with_hint("Check --stanza and --pg1-path. --save-current moves that cluster aside; "
                        "--force without --delta replaces it.")});
}

/// "" if nothing is there.
std::string real_path(const std::string& path) {
    std::error_code code;
    const fs::path real = fs::canonical(path, code);
    return code ? "" : real.string();
}

/// Where a data directory has what the manifest calls so.
std::string place_in(const std::string& pg_path, std::string_view name) {
    constexpr std::string_view kData = "pg_data/";
    if (name.starts_with(kData)) name.remove_prefix(kData.size());
    return real_path(pg_path + "/" + std::string(name));
}

/// nullptr: a link's.
const repo::ManifestTarget* tablespace_of(const repo::Manifest& manifest,
                                          const Destination& destination) {
    for (const repo::ManifestTarget& target : manifest.targets)
        if (target.tablespace_oid != 0 && destination.name.starts_with(target.name + "/"))
            return &target;
    return nullptr;
}

Error in_the_way(const Destination& destination, const std::string& text) {
    return Error(destination.file.empty() ? ErrorKind::path_not_empty : ErrorKind::file_exists,
                 "unable to restore to '" + content_path(destination) + "': " + text);
}

void guard_destination(const RestoreRequest& request, const Destination& destination,
                       RestorePlan& plan) {
    if (!has_content(destination)) return;
    const std::string place = real_path(content_path(destination));
    if (place.empty() || place == place_in(request.pg_path, destination.name)) return;
    const repo::ManifestTarget* tablespace = tablespace_of(plan.manifest, destination);
    const std::string name =
        tablespace != nullptr
            ? "tablespace '" + printable(tablespace->tablespace_name) + "'"
            : "link '" + destination.name.substr(destination.name.find('/') + 1) + "'";
    const std::string elsewhere =
        tablespace != nullptr ? "--tablespace-map or --tablespace-map-all" : "--link-map";
    if (place == place_in(plan.original_pg_path, destination.name)) {
        plan.problems.push_back(
            {in_the_way(destination, "there the cluster in '" + plan.original_pg_path +
                                         "', which is not to be replaced, has its " + name)
                 .with_hint(elsewhere + " restores to another place.")});
        return;
    }
    const std::string text =
        "it contains files, and is not where the cluster in '" + request.pg_path + "' has " + name;
    if (plan.force) {
        plan.warnings.push_back("'" + content_path(destination) +
                                "' will be replaced, as --force says: " + text);
        plan.delta = false;
    } else if (plan.delta) {
        plan.problems.push_back(
            {in_the_way(destination, text)
                 .with_hint("--delta would remove what may be of another cluster. " + elsewhere +
                            " restores to another place, --save-current moves aside what is "
                            "there, --force without --delta replaces it.")});
    }
}

}  // namespace

void guard_other_clusters(const RestoreRequest& request, RestorePlan& plan) {
    guard_data_directory(request, plan);
    for (const Destination& destination : destinations_of(plan.manifest))
        if (destination.name != "pg_data") guard_destination(request, destination, plan);
}

}  // namespace chronos::ops
