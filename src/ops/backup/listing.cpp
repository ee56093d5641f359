#include "ops/backup/listing.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"

namespace chronos::ops::backup {
namespace {

constexpr std::size_t kLeftOutWarnedMax = 20;
constexpr std::size_t kNamedMax = 3;
/// 255 is what file systems hold, less the longest extension of ours and some room.
constexpr std::size_t kComponentMax = 248;
constexpr std::size_t kPathMax = 4095;  ///< of a path that a call takes
constexpr std::size_t kKeyMax = 1024;   ///< of an object's name on S3
constexpr std::size_t kLabelMax = sizeof "/20261120-075745F_20261120-075816D/";
constexpr std::size_t kExtensionMax = 16;

using Tablespaces = std::vector<db::Tablespace>;

bool has(const Tablespaces& tablespaces, std::uint32_t oid) {
    return std::ranges::find(tablespaces, oid, &db::Tablespace::oid) != tablespaces.end();
}

bool is_listed(const pgdata::ClusterList& list, std::uint32_t oid) {
    const std::string in_place = "pg_data/pg_tblspc/" + std::to_string(oid);
    return std::ranges::find(list.links, oid, &pgdata::ClusterLink::tablespace_oid) !=
               list.links.end() ||
           std::ranges::find(list.paths, SharedText(in_place), &pgdata::ClusterEntry::name) !=
               list.paths.end();
}

/// Those of `before` that the list lacks. One may have been dropped since.
Tablespaces missing_in(const pgdata::ClusterList& list, Tablespaces before) {
    std::erase_if(
        before, [&](const db::Tablespace& tablespace) { return is_listed(list, tablespace.oid); });
    return before;
}

/// A backup without a tablespace that the server has would be no backup.
Result<> check_complete(const pgdata::ClusterList& list, const Tablespaces& before,
                        db::Connection& connection) {
    const Tablespaces missing = missing_in(list, before);
    if (missing.empty()) return {};
    const Tablespaces now = CHRONOS_TRY(db::list_tablespaces(connection));
    for (const db::Tablespace& tablespace : missing)
        if (has(now, tablespace.oid))
            return Error(ErrorKind::path_missing, "tablespace '" + printable(tablespace.name) +
                                                      "' of the server has no entry pg_tblspc/" +
                                                      std::to_string(tablespace.oid))
                .with_hint(
                    "Its files are out of reach, for the server as well: put the link back,"
                    " or drop the tablespace.");
    return {};
}

std::string tell_what_is_left_out(const std::vector<pgdata::LeftOut>& left_out) {
    if (left_out.empty()) return {};
    std::string named;
    std::size_t count = 0;
    for (const pgdata::LeftOut& entry : left_out) {
        const std::string text = "'" + printable(entry.path) + "': " + entry.reason;
        if (count < kLeftOutWarnedMax) log_warn("left out of the backup: " + text);
        if (count < kNamedMax) named += (count == 0 ? "" : "; ") + text;
        ++count;
    }
    if (count > kLeftOutWarnedMax)
        log_warn("left out of the backup: " + std::to_string(count - kLeftOutWarnedMax) + " more");
    if (count > kNamedMax) named += "; and " + std::to_string(count - kNamedMax) + " more";
    return "left out of the backup: " + named;
}

/// What the catalog would say; it cannot be asked.
Tablespaces tablespaces_of(const pgdata::ClusterList& list) {
    Tablespaces tablespaces;
    for (const pgdata::ClusterLink& link : list.links)
        if (link.tablespace_oid != 0)
            tablespaces.push_back(
                {link.tablespace_oid, "ts" + std::to_string(link.tablespace_oid)});
    return tablespaces;
}

/// Where its last checkpoint lies a server begins. A standby may get that from an archive.
Result<> check_startable(const pgdata::ClusterList& list, const pgdata::ControlFile& control) {
    if (control.in_recovery) return {};
    const std::string segment =
        pgdata::wal_segment_name(control.timeline, control.redo, control.wal_segment_size);
    if (std::ranges::find(list.files, SharedText("pg_data/pg_wal/" + segment),
                          &pgdata::ClusterEntry::name) != list.files.end())
        return {};
    return Error(ErrorKind::path_missing, "pg_wal has no segment " + segment +
                                              ", without which no server starts: an offline backup"
                                              " has no other WAL")
        .with_hint("Is pg_wal excluded, or its file system away?");
}

pgdata::ClusterListRequest wanted_of(const BackupRequest& request, const Cluster& cluster) {
    pgdata::ClusterListRequest wanted;
    wanted.pgdata = cluster.pgdata;
    wanted.tablespace_directory = cluster.control.tablespace_directory();
    wanted.major = cluster.control.major();
    wanted.exclude = request.exclude;
    wanted.judge_name = [&](std::string_view name) {
        return check_storable(*request.repository.storage, request.stanza, name);
    };
    return wanted;
}

Result<Listing> list_stopped(const BackupRequest& request, const Cluster& cluster) {
    pgdata::ClusterListRequest wanted = wanted_of(request, cluster);
    wanted.online = false;
    wanted.unlogged = cluster.control.shut_down;
    Listing listing;
    listing.list = CHRONOS_TRY(pgdata::list_cluster(wanted));
    listing.tablespaces = tablespaces_of(listing.list);
    CHRONOS_TRY(check_startable(listing.list, cluster.control));
    return listing;
}

Result<Listing> list_running(const BackupRequest& request, const Cluster& cluster,
                             db::Connection& connection) {
    Listing listing;
    pgdata::ClusterListRequest wanted = wanted_of(request, cluster);
    // Asked for when the entries of pg_tblspc have been read: one that is there by then, and of a
    // tablespace, is in the catalog.
    wanted.tablespaces = [&]() -> Result<std::vector<std::uint32_t>> {
        listing.tablespaces = CHRONOS_TRY(db::list_tablespaces(connection));
        std::vector<std::uint32_t> oids;
        for (const db::Tablespace& tablespace : listing.tablespaces) oids.push_back(tablespace.oid);
        return oids;
    };
    // Only their number is sure to change until the end: names that cannot be had fail it now.
    CHRONOS_TRY_DOING(db::list_databases(connection), "list databases before the copy");
    const Tablespaces before = CHRONOS_TRY(db::list_tablespaces(connection));
    listing.list = CHRONOS_TRY(pgdata::list_cluster(wanted));
    CHRONOS_TRY(check_complete(listing.list, before, connection));
    return listing;
}

}  // namespace

Result<Listing> list_for_backup(const BackupRequest& request, const Cluster& cluster,
                                db::Connection* connection) {
    Listing listing =
        CHRONOS_TRY(connection != nullptr ? list_running(request, cluster, *connection)
                                          : list_stopped(request, cluster));
    listing.left_out = tell_what_is_left_out(listing.list.left_out);
    return listing;
}

Result<> check_storable(const storage::Storage& storage, const std::string& stanza,
                        std::string_view manifest_name) {
    const auto refuse = [](const std::string& why) { return Error(ErrorKind::format, why); };
    CHRONOS_TRY(repo::check_manifest_name(manifest_name));
    if (manifest_name.size() - (manifest_name.rfind('/') + 1) > kComponentMax)
        return refuse("its name is longer than " + std::to_string(kComponentMax) + " bytes");
    const bool by_paths = storage.features().paths;
    const std::size_t place =
        storage.describe(repo::backup_path(stanza)).size() + kLabelMax + kExtensionMax;
    const std::size_t limit = by_paths ? kPathMax : kKeyMax;
    if (place + manifest_name.size() > limit)
        return refuse("with its name the repository would have a path of more than " +
                      std::to_string(limit) + " bytes");
    if (!by_paths && printable(manifest_name, std::string_view::npos) != manifest_name)
        return refuse(
            "an object store cannot hold a name with control characters, or one that is not UTF-8");
    return {};
}

}  // namespace chronos::ops::backup
