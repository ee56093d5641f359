#include <filesystem>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/db/standby.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/wal_archive.h"
#include "ops/backup/phases.h"
#include "ops/backup/primary.h"

namespace chronos::ops::backup {
namespace {

bool same_directory(const std::string& a, const std::string& b) {
    std::error_code code;
    return std::filesystem::equivalent(a, b, code) && !code;
}

Result<> check_same_cluster(const Cluster& cluster) {
    if (cluster.server.major() == cluster.control.major() &&
        cluster.server.system_id == cluster.control.system_id &&
        same_directory(cluster.server.data_directory, cluster.pgdata))
        return {};
    return Error(ErrorKind::db_mismatch, "version '" + std::to_string(cluster.server.major()) +
                                             "' and path '" + cluster.server.data_directory +
                                             "' queried from cluster do not match version '" +
                                             cluster.control.version + "' and '" + cluster.pgdata +
                                             "' read from '" + cluster.pgdata +
                                             "/global/pg_control'")
        .with_hint("The pg1-path and pg1-port settings likely reference different clusters.");
}

Result<> check_stanza(const pgdata::ControlFile& control, const repo::HistoryEntry& stanza) {
    if (control.version == stanza.version && control.system_id == stanza.system_id) return {};
    return Error(ErrorKind::backup_mismatch,
                 "PostgreSQL version " + control.version + ", system-id " +
                     std::to_string(control.system_id) + " do not match stanza version " +
                     stanza.version + ", system-id " + std::to_string(stanza.system_id))
        .with_hint(
            "Is this the correct stanza? After pg_upgrade, stanza-upgrade makes the new cluster "
            "known to it.");
}

void warn_about_timeouts(const BackupRequest& request, const db::ServerFacts& server) {
    const std::chrono::seconds checkpoint(server.checkpoint_timeout_s);
    if (request.start_fast || *request.db_timeout > checkpoint) return;
    log_warn("start-fast is off and db-timeout (" +
             std::to_string(request.db_timeout->count() / 1000) +
             "s) is not greater than checkpoint_timeout (" +
             std::to_string(server.checkpoint_timeout_s) +
             "s): the backup may be given up before the next regular checkpoint");
}

/// Both may be had; that a standby is asked for and there is none, pgBackRest answers alike.
Result<> check_role(const BackupRequest& request, const db::ServerFacts& server) {
    if (server.in_recovery && request.copy_from == CopyFrom::primary)
        return Error(ErrorKind::db_connect,
                     "unable to find primary cluster: the server is in recovery")
            .with_hint(
                "Run the backup on the primary, or allow one of a standby: backup-standby=y,"
                " or prefer.");
    if (!server.in_recovery && request.copy_from == CopyFrom::standby)
        return Error(ErrorKind::db_connect,
                     "unable to find a standby to perform the backup: the server is a primary")
            .with_hint("Run the backup on a standby, or set backup-standby=prefer.");
    if (!server.in_recovery && request.copy_from == CopyFrom::either)
        log_warn("unable to find a standby to perform the backup, using primary instead");
    return {};
}

/// The server had its checkpoint and wrote it to the same pg_control that we read.
Result<> check_checkpoint(const pgdata::ControlFile& control, Lsn start) {
    if (control.checkpoint >= start) return {};
    return Error(ErrorKind::db_mismatch, "current checkpoint '" + control.checkpoint.str() +
                                             "' is less than backup start '" + start.str() + "'");
}

/// Backup mode on the server, and where in the WAL it begins.
Result<> start_on_server(const BackupRequest& request, db::Connection& connection,
                         const Cluster& cluster, StartedBackup& started) {
    started.lsn = CHRONOS_TRY(db::start_backup(
        connection, "chronos_backup started at " + format_local_time(started.timestamp),
        request.start_fast));
    const pgdata::ControlFile control = CHRONOS_TRY(pgdata::read_control_file(cluster.pgdata));
    CHRONOS_TRY(check_checkpoint(control, started.lsn));
    started.timeline = control.timeline;
    return {};
}

/// What is read of the cluster from now on is made consistent by WAL.
Result<StartedBackup> enter_backup_mode(const BackupRequest& request, db::Connection& connection,
                                        const Cluster& cluster) {
    warn_about_timeouts(request, cluster.server);
    log_info(std::string("execute non-exclusive backup start: backup begins after the ") +
             (request.start_fast ? "requested immediate checkpoint" : "next regular checkpoint") +
             " completes");
    const std::uint32_t segment_size = cluster.control.wal_segment_size;
    StartedBackup started;
    started.timestamp = CHRONOS_TRY(db::server_time(connection)).second;
    const Lsn before = CHRONOS_TRY(db::current_insert_lsn(connection));
    CHRONOS_TRY(start_on_server(request, connection, cluster, started));
    started.segment = pgdata::wal_segment_name_before(started.timeline, started.lsn, segment_size);
    log_info("backup start archive = " + started.segment + ", lsn = " + started.lsn.str());

    started.proof_segment = pgdata::wal_segment_name_before(started.timeline, before, segment_size);
    // The start switches to a new segment only if there was something in the old one.
    if (request.archive_check && started.proof_segment == started.segment)
        CHRONOS_TRY(db::switch_wal(connection, "chronos archive check"));
    return started;
}

/// On a standby the checkpoint is a restartpoint, which may be that of a checkpoint of long ago,
/// and no WAL is written. Source: docs/server.md, 3.3 Standby backups.
Result<StartedBackup> enter_on_standby(const BackupRequest& request, db::Connection& connection,
                                       const Cluster& cluster) {
    log_info(
        "execute non-exclusive backup start on the standby: backup begins with a restartpoint");
    StartedBackup started;
    started.timestamp = CHRONOS_TRY(db::server_time(connection)).second;
    CHRONOS_TRY(start_on_server(request, connection, cluster, started));
    started.segment =
        pgdata::wal_segment_name(started.timeline, started.lsn, cluster.control.wal_segment_size);
    log_info("backup start archive = " + started.segment + ", lsn = " + started.lsn.str());
    CHRONOS_TRY(check_same_timeline(cluster, started));
    return started;
}

/// The segment that the backup starts in is over, or comes to be, and so must be in the archive.
Result<> find_proof_on_standby(const Scope& scope, const Work& work, StartedBackup& started) {
    if (!work.request.archive_check) return {};
    const Lsn replayed = CHRONOS_TRY(db::replayed_lsn(*scope.connection));
    const std::string current = pgdata::wal_segment_name_before(
        started.timeline, replayed, work.cluster.control.wal_segment_size);
    if (current <= started.segment)
        started.not_asked = leave_segment_on_primary(work.request, work.cluster, started.segment,
                                                     *scope.connection, scope.cancel);
    if (started.not_asked.empty())
        started.proof_segment = started.segment;
    else
        log_info("whether WAL is archived cannot be tried before the copy: " + started.not_asked);
    return {};
}

// Hours of copying are in vain if the WAL that makes the copy consistent never arrives.
Result<> prove_archiving(const Scope& scope, const Work& work, const StartedBackup& server) {
    if (!work.request.archive_check || server.proof_segment.empty()) return {};
    CHRONOS_TRY(scope.step("wal"));
    const Stopwatch watch(scope.waits.wal);
    const bool prior_segment = server.proof_segment != server.segment;
    log_info(std::string("check archive for ") + (prior_segment ? "prior " : "") + "segment " +
             server.proof_segment);
    CHRONOS_TRY(repo::wait_for_archived_segment(
        work.request.repository, work.request.stanza, work.archive.current().archive_id(),
        server.proof_segment, work.request.archive_timeout, scope.cancel));
    return {};
}

}  // namespace

namespace {

bool looks_running(const std::string& pgdata) {
    std::error_code ignored;
    return std::filesystem::exists(pgdata + "/postmaster.pid", ignored);
}

Result<> check_stopped(const BackupRequest& request) {
    if (!looks_running(request.pgdata)) return {};
    if (!request.force)
        return Error(ErrorKind::pg_running,
                     "--no-online passed but postmaster.pid exists - looks like PostgreSQL is"
                     " running")
            .with_hint("Shut down PostgreSQL and try again, or leave --no-online out.")
            .with_hint(
                "Of a server that was killed the file is left behind: start and stop it"
                " once, or use --force if it is sure that no server runs.");
    log_warn(
        "--no-online passed and postmaster.pid exists, but so is --force: the backup goes on"
        " though it looks as if PostgreSQL is running, and if it is the backup is not consistent");
    return {};
}

void tell_how_it_was_stopped(const pgdata::ControlFile& control) {
    if (control.shut_down) return;
    log_warn(control.in_recovery
                 ? "the cluster was stopped in recovery, as a standby is: a server that starts from"
                   " this backup goes on with the WAL in it"
                 : "the cluster was not shut down cleanly: a server that starts from this backup"
                   " recovers with the WAL in it");
}

Result<Cluster> look_at_stopped(const BackupRequest& request, const repo::HistoryEntry& stanza) {
    Cluster cluster;
    cluster.pgdata = request.pgdata;
    cluster.stopped_control = CHRONOS_TRY(pgdata::read_control_file_content(cluster.pgdata));
    cluster.control = CHRONOS_TRY(pgdata::parse_control_file(io::bytes(cluster.stopped_control)));
    CHRONOS_TRY(check_stanza(cluster.control, stanza));
    CHRONOS_TRY(check_stopped(request));
    tell_how_it_was_stopped(cluster.control);
    return cluster;
}

StartedBackup start_without_server(const Cluster& cluster) {
    StartedBackup started;
    started.timestamp = unix_now();
    started.timeline = cluster.control.current_timeline();
    return started;
}

}  // namespace

Result<> check_still_stopped(const BackupRequest& request, const Cluster& cluster) {
    if (request.force) return {};
    const std::string control = CHRONOS_TRY(pgdata::read_control_file_content(cluster.pgdata));
    if (control == cluster.stopped_control && !looks_running(cluster.pgdata)) return {};
    return Error(ErrorKind::pg_running,
                 "PostgreSQL was started while its files were copied: what was copied is of no use")
        .with_hint("Take the backup again, with --no-online while it is stopped, or online.");
}

Result<Cluster> look_at_cluster(const BackupRequest& request, db::Connection* session,
                                const repo::HistoryEntry& stanza) {
    if (session == nullptr) return look_at_stopped(request, stanza);
    db::Connection& connection = *session;
    Cluster cluster;
    cluster.server = CHRONOS_TRY(db::read_server_facts(connection));
    cluster.pgdata = request.pgdata.empty() ? cluster.server.data_directory : request.pgdata;
    cluster.control = CHRONOS_TRY(pgdata::read_control_file(cluster.pgdata));
    CHRONOS_TRY(check_stanza(cluster.control, stanza));
    CHRONOS_TRY(check_same_cluster(cluster));
    CHRONOS_TRY(check_role(request, cluster.server));
    // It is the primary that archives, for both.
    if (request.archive_check && !cluster.standby())
        CHRONOS_TRY(db::check_archiving(cluster.server, request.archive_mode_check));
    return cluster;
}

Result<> check_same_timeline(const Cluster& cluster, const StartedBackup& started) {
    const pgdata::ControlFile control = CHRONOS_TRY(pgdata::read_control_file(cluster.pgdata));
    const Timeline now = control.current_timeline();
    if (now == started.timeline) return {};
    return Error(ErrorKind::db_mismatch, "the standby has followed its primary from timeline " +
                                             std::to_string(started.timeline) +
                                             ", with which this backup begins, to " +
                                             std::to_string(now))
        .with_hint("Take the backup again, after a checkpoint on the primary.");
}

Result<Started> start(const Scope& scope, Chosen&& chosen) {
    const auto enter = [&]() -> Result<StartedBackup> {
        if (!scope.online()) return start_without_server(chosen.work.cluster);
        if (chosen.work.cluster.standby()) {
            auto started = CHRONOS_TRY(
                enter_on_standby(chosen.work.request, *scope.connection, chosen.work.cluster));
            CHRONOS_TRY(find_proof_on_standby(scope, chosen.work, started));
            return started;
        }
        return enter_backup_mode(chosen.work.request, *scope.connection, chosen.work.cluster);
    };
    StartedBackup server;
    {
        const Stopwatch watch(scope.waits.checkpoint);
        Companions* companions = scope.company.companions;
        server = CHRONOS_TRY(companions ? companions->start(enter) : enter());
    }
    chosen.manifest.timestamp_start = server.timestamp;
    if (scope.online()) CHRONOS_TRY(prove_archiving(scope, chosen.work, server));
    return Started{std::move(chosen.work), std::move(chosen.manifest), std::move(chosen.prior),
                   std::move(chosen.resumed), std::move(server)};
}

}  // namespace chronos::ops::backup
