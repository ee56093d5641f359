#include "ops/restore/other_clusters.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "chronos/base/text.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/data_directory.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/side/owner.h"
#include "ops/restore/destination.h"

namespace chronos::ops::restore {
namespace {

namespace fs = std::filesystem;

std::string system_ids(std::uint64_t theirs, const std::string& their_version,
                       const repo::Manifest& manifest) {
    return "its system identifier is " + std::to_string(theirs) + " (PostgreSQL " + their_version +
           "), that of the backup " + std::to_string(manifest.system_id) + " (PostgreSQL " +
           manifest.pg_version + ")";
}

std::optional<pgdata::WalHeader> wal_header_of(const fs::path& file) {
    const std::string head = os::read_part_or_empty(file, 0, pgdata::kWalHeaderSize);
    auto header = pgdata::parse_wal_header(io::bytes(head));
    if (!header) return std::nullopt;
    return *std::move(header);
}

/// Each segment says whose it is. nullopt: there is none, or one is of the backup's cluster.
std::optional<pgdata::WalHeader> wal_of_another(const std::string& pg_path,
                                                std::uint64_t system_id) {
    std::optional<pgdata::WalHeader> another;
    std::error_code code;
    for (fs::directory_iterator at(pg_path + "/pg_wal", code), end; !code && at != end;
         at.increment(code)) {
        std::error_code unknown;
        if (!pgdata::is_wal_segment(at->path().filename().native()) ||
            !fs::is_regular_file(at->path(), unknown))
            continue;
        const auto header = wal_header_of(at->path());
        if (!header) continue;
        if (header->system_id == system_id) return std::nullopt;
        another = header;
    }
    return another;
}

/// Whose data directory it is, for people; "" if it may be that of the backup.
std::string other_owner(const RestorePlan& plan, const std::string& pg_path) {
    const repo::Manifest& manifest = plan.manifest;
    if (const auto control = pgdata::read_control_file(pg_path)) {
        if (control->system_id == manifest.system_id && control->version == manifest.pg_version)
            return "";
        return system_ids(control->system_id, control->version, manifest);
    }
    // Without that file, or with a damaged one, the WAL tells. Without that as well nobody can:
    // that is what a restore may be for, and an interrupted one leaves neither.
    if (const auto another = wal_of_another(pg_path, manifest.system_id))
        return system_ids(another->system_id, another->version, manifest) +
               ", as its WAL says; it has no pg_control that can be read";
    // But no cluster ever had another version; pg_upgrade leaves such a directory.
    constexpr std::size_t kSizeMax = 64;
    const std::string content = os::read_or_empty(pg_path + "/PG_VERSION", kSizeMax);
    const std::string version(trim(content));
    if (version.empty() || version == manifest.pg_version || version.size() > 8 ||
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

/// Directories of databases have a PG_VERSION as a data directory has, and --delta would make one
/// of such a directory: a cluster lost all that was there.
void guard_inside(const RestoreRequest& request, const Destination& destination,
                  RestorePlan& plan) {
    std::error_code code;
    const bool is_data = destination.name == "pg_data";
    fs::path place = fs::weakly_canonical(content_path(destination), code);
    if (code) return;
    if (is_data) place = place.parent_path();
    const std::string around = pgdata::data_directory_around(place.string());
    if (around.empty() || around == real_path(request.pg_path)) return;
    Error error(ErrorKind::path_not_empty, "unable to restore to '" + content_path(destination) +
                                               "': it lies in '" + around +
                                               "', the data directory of a cluster");
    plan.problems.push_back(
        {is_data ? std::move(error).with_hint("Is --pg1-path the data directory itself?")
                 : std::move(error).with_hint("--tablespace-map and --link-map restore to another "
                                              "place.")});
}

}  // namespace

void guard_other_clusters(const RestoreRequest& request, RestorePlan& plan) {
    guard_data_directory(request, plan);
    for (const Destination& destination : destinations_of(plan.manifest))
        if (destination.name != "pg_data") guard_destination(request, destination, plan);
    for (const Destination& destination : destinations_of(plan.manifest))
        guard_inside(request, destination, plan);
}

void warn_of_unarchived(const RestoreRequest& request, RestorePlan& plan) {
    if (!plan.delta && !plan.force) return;
    std::vector<std::string> segments;
    std::error_code none;
    fs::directory_iterator entry(request.pg_path + "/pg_wal/archive_status", none);
    for (; !none && entry != fs::directory_iterator(); entry.increment(none)) {
        const std::string name = entry->path().filename().string();
        constexpr std::string_view kReady = ".ready";
        if (!name.ends_with(kReady)) continue;
        std::string segment = name.substr(0, name.size() - kReady.size());
        if (pgdata::is_wal_segment(segment)) segments.push_back(std::move(segment));
    }
    if (segments.empty()) return;
    plan.warnings.push_back(std::to_string(segments.size()) +
                            " WAL segment(s) of the cluster in '" + printable(request.pg_path) +
                            "' were never archived, the first " +
                            *std::ranges::min_element(segments) +
                            ": this removes them. archive-push stores what is to be kept");
}

void warn_of_living_original(const RestoreRequest& request, RestorePlan& plan) {
    if (!request.durable || request.archive_mode_off || plan.type == RecoveryType::standby) return;
    const repo::Repository& repository = request.repositories[plan.repository_index];
    const auto other =
        repo::StanzaOwner(repository, request.stanza)
            .used_by_another(repo::identify_place(request.pg_path, plan.manifest.system_id));
    // Whose it is nobody may know: that forbids nothing.
    if (!other || other->empty()) return;
    plan.warnings.push_back(
        "the stanza is in use by " + *other +
        ": a server started on this restore would archive into it as well, as its next timeline, "
        "and the next restore would follow that one. For a copy beside it: --archive-mode=off");
}

}  // namespace chronos::ops::restore
