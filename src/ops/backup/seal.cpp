#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/db/server.h"
#include "chronos/pgdata/wal.h"
#include "ops/backup/copy.h"
#include "ops/backup/phases.h"
#include "ops/backup/primary.h"
#include "ops/backup/store_pipeline.h"
#include "ops/backup/wal.h"

namespace chronos::ops::backup {
namespace {

constexpr mode_t kLabelModeMask = 0644;

Result<EndedBackup> leave_backup_mode(db::Connection& connection) {
    log_info("execute non-exclusive backup stop and wait for all WAL segments to archive");
    EndedBackup ended;
    ended.databases = CHRONOS_TRY(db::list_databases(connection));
    ended.stopped = CHRONOS_TRY(db::stop_backup(connection));
    ended.timestamp = CHRONOS_TRY(db::server_time(connection)).second;
    return ended;
}

/// Whose name cannot stand in a manifest is backed up all the same: what it is called is known to
/// its own catalog. Only a selective restore cannot be told of it by name.
void list_database(const db::Database& database, repo::Manifest& manifest) {
    if (repo::check_manifest_name(database.name))
        manifest.databases.push_back({database.name, database.oid, database.last_system_oid});
    else
        log_warn("database '" + printable(database.name) + "' (oid " +
                 std::to_string(database.oid) +
                 ") is backed up without its name, which a manifest cannot hold: a selective "
                 "restore can leave it out, but not choose it");
}

Result<db::StoppedBackup> stop_on_server(const Scope& scope, Copied& copied) {
    CHRONOS_TRY(scope.step("stop"));
    const auto leave = [&]() -> Result<EndedBackup> {
        EndedBackup ended = CHRONOS_TRY(leave_backup_mode(*scope.connection));
        if (copied.work.cluster.standby())
            CHRONOS_TRY(check_same_timeline(copied.work.cluster, copied.server));
        return ended;
    };
    const Company& company = scope.company;
    EndedBackup ended = CHRONOS_TRY(
        company.companions ? company.companions->stop(company.member, leave, scope.cancel)
                           : leave());
    repo::Manifest& manifest = copied.manifest;
    manifest.databases.clear();
    for (const db::Database& database : ended.databases) list_database(database, manifest);
    const StartedBackup& started = copied.server;
    manifest.lsn_start = started.lsn;
    manifest.lsn_stop = ended.stopped.lsn;
    manifest.archive_start = started.segment;
    manifest.archive_stop = pgdata::wal_segment_name_before(
        started.timeline, ended.stopped.lsn, copied.work.cluster.control.wal_segment_size);
    log_info("backup stop archive = " + manifest.archive_stop +
             ", lsn = " + ended.stopped.lsn.str());
    manifest.timestamp_stop = ended.timestamp;
    return std::move(ended.stopped);
}

// Files that are not the cluster's own belong to the owner of its directory.
void add_entry(repo::Manifest& manifest, repo::ManifestFile file) {
    file.mode = manifest.defaults.path_mode & kLabelModeMask;
    file.user = manifest.defaults.user;
    file.group = manifest.defaults.group;
    const auto at =
        std::ranges::lower_bound(manifest.files, file.name, {}, &repo::ManifestFile::name);
    manifest.files.insert(at, std::move(file));
}

Result<> store_text(Copied& copied, const std::string& name, const std::string& content) {
    const repo::Encoding encoding = copied.work.encoding(copied.manifest);
    const std::string object =
        stored_name(copied.work.directory(copied.manifest), name, encoding.compress_type);
    StorePipeline pipeline(
        encoding, CHRONOS_TRY(copied.work.storage().create(object, storage::WriteMode::atomic)),
        {});
    CHRONOS_TRY_DOING(pipeline.write(io::bytes(content)), "store '" + name + "'");
    const StoredAs stored = CHRONOS_TRY_DOING(pipeline.finish(), "store '" + name + "'");
    repo::ManifestFile file;
    file.name = name;
    file.size_original = stored.size;
    file.timestamp = copied.manifest.timestamp_stop;
    stored.apply_to(file);
    log_detail("wrote '" + name + "' file returned from backup stop function");
    add_entry(copied.manifest, std::move(file));
    return {};
}

Result<> store_labels(Copied& copied, const db::StoppedBackup& stopped) {
    const std::string label = "pg_data/backup_label";
    CHRONOS_TRY(store_text(copied, label, stopped.backup_label));
    Work& work = copied.work;
    CHRONOS_TRY(work.guard.witness.note(
        work.storage(),
        stored_name(work.directory(copied.manifest), label, work.request.compress_type)));
    if (trim(stopped.tablespace_map).empty()) return {};
    return store_text(copied, "pg_data/tablespace_map", stopped.tablespace_map);
}

Result<> collect_wal(const Scope& scope, Copied& copied) {
    Work& work = copied.work;
    if (!work.request.archive_check) return {};
    CHRONOS_TRY(scope.step("wal"));
    const Stopwatch watch(scope.waits.wal);
    std::mutex unshared;
    if (work.request.resume) CHRONOS_TRY(save_partial(work, copied.manifest, unshared));
    const WalRange range{copied.manifest.archive_start, copied.manifest.archive_stop,
                         work.cluster.control.wal_segment_size};
    std::string not_asked;
    if (work.cluster.standby())
        not_asked = leave_segment_on_primary(work.request, work.cluster, range.last,
                                             *scope.connection, scope.cancel);
    auto found = wait_for_wal(work.request, work.archive, range, scope.cancel);
    if (!found && !not_asked.empty())
        return std::move(found).error().with_hint(
            "An idle primary does not end its segment, and " + not_asked +
            ". With archive_timeout set there it ends segments by itself.");
    const std::vector<repo::ArchivedSegment> segments = CHRONOS_TRY(std::move(found));
    if (!work.request.archive_copy) return {};
    const WalCopy to{work.directory(copied.manifest), work.encoding(copied.manifest),
                     range.segment_size, copied.manifest.timestamp_stop};
    for (repo::ManifestFile& file :
         CHRONOS_TRY(copy_wal(work.request.repository, work.archive, segments, to, scope.cancel)))
        add_entry(copied.manifest, std::move(file));
    return {};
}

Result<> complete_manifest(const Scope& scope, Copied& copied) {
    CHRONOS_TRY(scope.step("manifest"));
    const Work& work = copied.work;
    repo::Manifest& manifest = copied.manifest;
    manifest.history_id = work.known.info.current_id;
    manifest.system_id = work.cluster.control.system_id;
    manifest.annotations = work.request.annotations;
    repo::ManifestOptions& options = manifest.options;
    options.backup_standby = work.cluster.standby();
    options.buffer_size = work.request.buffer_size;
    options.compress_level = work.encoding(manifest).compress_level;
    options.compress_level_network = work.request.compress_level_network;
    options.process_max = work.request.process_max;
    return {};
}

}  // namespace

Result<Sealed> seal(const Scope& scope, Copied&& copied) {
    if (scope.online()) {
        const db::StoppedBackup stopped = CHRONOS_TRY(stop_on_server(scope, copied));
        CHRONOS_TRY(store_labels(copied, stopped));
        CHRONOS_TRY(collect_wal(scope, copied));
    } else {
        CHRONOS_TRY(check_still_stopped(copied.work.request, copied.work.cluster));
        copied.manifest.timestamp_stop = unix_now();
    }
    CHRONOS_TRY(complete_manifest(scope, copied));
    return Sealed{std::move(copied.work), std::move(copied.manifest), std::move(copied.left_out),
                  copied.bytes};
}

}  // namespace chronos::ops::backup
