#include <sys/statvfs.h>

#include "chronos/base/text.h"
#include "chronos/db/server.h"
#include "chronos/ops/health/health.h"
#include "ops/health/columns.h"

namespace chronos::ops::health {
namespace {

/// What a checkpoint and a snapshot of running transactions write into an idle server's WAL: not
/// data that anybody would miss.
constexpr std::uint64_t kIdleWalBytes = 1024;

// Every column as text over either connection. A standby has no insert position and archives, as a
// rule, nothing.
constexpr std::string_view kFactsQuery =
    "SELECT pg_catalog.pg_is_in_recovery()::text,"
    " pg_catalog.current_setting('archive_mode'),"
    " coalesce(a.last_archived_wal, ''),"
    " coalesce(extract(epoch FROM a.last_archived_time)::bigint, 0)::text,"
    " coalesce(a.last_failed_wal, ''),"
    " coalesce(extract(epoch FROM a.last_failed_time)::bigint, 0)::text,"
    " a.archived_count::text, a.failed_count::text,"
    " r.segments::text, r.oldest::text, w.bytes::text,"
    " coalesce(CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN"
    "  (r.segments * s.size::numeric"
    "   + mod(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0'), s.size))"
    "  ::bigint END, 0)::text,"
    " coalesce(pg_catalog.current_setting('archive_library', true), ''),"
    " coalesce(pg_catalog.current_setting('archive_command', true), '')"
    " FROM pg_catalog.pg_stat_archiver AS a,"
    " (SELECT pg_catalog.count(*) AS segments,"
    "   coalesce(extract(epoch FROM pg_catalog.min(modification))::bigint, 0) AS oldest"
    "  FROM pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.ready') AS r,"
    " (SELECT coalesce(pg_catalog.sum(size), 0)::bigint AS bytes"
    "  FROM pg_catalog.pg_ls_waldir()) AS w,"
    " (SELECT setting::bigint AS size FROM pg_catalog.pg_settings"
    "  WHERE name = 'wal_segment_size') AS s";

// A role that may ask the rest need not have the right to ask this.
constexpr std::string_view kClusterQuery =
    "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),"
    " (pg_catalog.current_setting('server_version_num')::int / 10000)::text";

// The extension need not exist in the database that is asked.
constexpr std::string_view kHasJobsQuery =
    "SELECT (pg_catalog.to_regclass('chronos.job_history') IS NOT NULL)::text";

// Jobs of this start of the server come after all others, whatever the clock said, and are known
// also where they could not be recorded: because chronos.database cannot be had, for example.
constexpr std::string_view kLastBackupQuery =
    "SELECT id::text, type, state, coalesce(error, ''),"
    " coalesce(extract(epoch FROM finished_at)::bigint, 0)::text FROM"
    " (SELECT 1 AS start, id, type, state, error, finished_at FROM chronos.current_jobs()"
    "  UNION ALL"
    "  SELECT 0, id, type, state, error, finished_at FROM chronos.job_history) AS job"
    " WHERE type IN ('full', 'diff', 'incr') AND state IN ('succeeded', 'failed')"
    " ORDER BY start DESC, id DESC LIMIT 1";

// Without the module there are those on record.
constexpr std::string_view kLastRecordedBackupQuery =
    "SELECT id::text, type, state, coalesce(error, ''),"
    " coalesce(extract(epoch FROM finished_at)::bigint, 0)::text FROM chronos.job_history"
    " WHERE type IN ('full', 'diff', 'incr') AND state IN ('succeeded', 'failed')"
    " ORDER BY id DESC LIMIT 1";

// What this knows of streamed WAL makes it the better answer where the module is loaded.
constexpr std::string_view kExposedQuery =
    "SELECT coalesce(exposed_bytes, -1)::text,"
    " coalesce(extract(epoch FROM exposed_time)::bigint, -1)::text FROM chronos.wal_status";

// Together with the view: who is asked may see it or not, and the module may not be loaded.
constexpr std::string_view kHasHeartbeats =
    "SELECT (pg_catalog.to_regclass('chronos.heartbeats') IS NOT NULL)::text";
constexpr std::string_view kSqlVersionQuery =
    "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'chronos_backup'";
constexpr std::string_view kHeartbeatsQuery =
    "SELECT subject, (state = 'late')::text,"
    " coalesce(extract(epoch FROM last_seen)::bigint, -1)::text,"
    " coalesce(extract(epoch FROM late_by)::bigint, 0)::text, coalesce(message, '')"
    " FROM chronos.heartbeats";

Result<> ask_about_heartbeats(db::Connection& connection, ServerFacts& facts) {
    const db::Rows there = CHRONOS_TRY(connection.query(kHasHeartbeats));
    if (there.size() != 1 || there[0].size() != 1) return {};
    if (there[0][0] != "true") {
        const auto version = connection.query(kSqlVersionQuery);
        if (version && version->size() == 1 && (*version)[0].size() == 1)
            facts.old_sql_version = (*version)[0][0].value_or("");
        return {};
    }
    const auto rows = connection.query(kHeartbeatsQuery);
    if (!rows) return {};
    for (const db::Row& row : *rows) {
        if (row.size() != 5) continue;
        HeartbeatFacts& one = facts.heartbeats.emplace_back();
        one.subject = row[0].value_or("");
        one.late = row[1] == "true";
        if (const auto seen = parse_uint(row[2].value_or("")))
            one.seen = static_cast<std::int64_t>(*seen);
        one.late_by = static_cast<std::int64_t>(number(row[3]));
        one.message = row[4].value_or("");
    }
    return {};
}

void ask_about_cluster(db::Connection& connection, ServerFacts& facts) {
    const auto rows = connection.query(kClusterQuery);
    if (!rows || rows->size() != 1 || (*rows)[0].size() != 2) return;
    facts.system_id = number((*rows)[0][0]);
    facts.version = (*rows)[0][1].value_or("");
}

Result<> ask_about_jobs(db::Connection& connection, ServerFacts& facts) {
    const db::Rows there = CHRONOS_TRY(connection.query(kHasJobsQuery));
    if (there.size() != 1 || there[0].size() != 1 || there[0][0] != "true") return {};
    // An error is an answer too: the view needs the module to be preloaded.
    const auto exposed = connection.query(kExposedQuery);
    if (exposed && exposed->size() == 1 && (*exposed)[0].size() == 2) {
        const auto bytes = parse_uint((*exposed)[0][0].value_or(""));
        const auto age_s = parse_uint((*exposed)[0][1].value_or(""));
        if (bytes) facts.unarchived_bytes = *bytes;
        if (bytes && age_s) facts.exposed_seconds = static_cast<std::int64_t>(*age_s);
    }
    auto known = connection.query(kLastBackupQuery);
    const db::Rows rows =
        known ? *std::move(known) : CHRONOS_TRY(connection.query(kLastRecordedBackupQuery));
    if (rows.size() != 1 || rows[0].size() != 5) return {};
    const db::Row& row = rows[0];
    facts.last_backup_job = JobFacts{static_cast<std::int64_t>(number(row[0])), row[1].value_or(""),
                                     row[2].value_or(""), row[3].value_or(""), time_of(row[4])};
    return {};
}

void look_at_disk(const std::string& pgdata, ServerFacts& facts) {
    struct statvfs space = {};
    if (pgdata.empty() || statvfs((pgdata + "/pg_wal").c_str(), &space) != 0) return;
    facts.disk_total_bytes = std::uint64_t{space.f_blocks} * space.f_frsize;
    facts.disk_free_bytes = std::uint64_t{space.f_bavail} * space.f_frsize;
}

}  // namespace

bool ServerFacts::holds_unarchived() const {
    return unarchived_bytes > kIdleWalBytes || ready_segments > 0;
}

std::int64_t ServerFacts::data_loss_seconds() const {
    if (!holds_unarchived()) return 0;
    if (exposed_seconds) return *exposed_seconds;
    return last_archived_at == 0 ? 0 : std::max<std::int64_t>(0, at - last_archived_at);
}

Result<ServerFacts> look_at_server(db::Connection& connection, const std::string& pgdata,
                                   UnixTime now) {
    const db::Rows rows = CHRONOS_TRY(connection.query(kFactsQuery));
    if (rows.size() != 1 || rows[0].size() != 14)
        return Error(ErrorKind::db_query,
                     "the server's answer about WAL is not of the expected form");
    const db::Row& row = rows[0];
    ServerFacts facts;
    facts.at = now;
    facts.in_recovery = row[0] == "true";
    facts.archive_mode = row[1].value_or("");
    facts.last_archived_wal = row[2].value_or("");
    facts.last_archived_at = time_of(row[3]);
    facts.last_failed_wal = row[4].value_or("");
    facts.last_failed_at = time_of(row[5]);
    facts.archived_count = number(row[6]);
    facts.failed_count = number(row[7]);
    facts.ready_segments = number(row[8]);
    facts.oldest_ready = time_of(row[9]);
    facts.pg_wal_bytes = number(row[10]);
    facts.unarchived_bytes = number(row[11]);
    facts.foreign_archiver = db::foreign_archiver(row[12].value_or(""), row[13].value_or(""));
    look_at_disk(pgdata, facts);
    ask_about_cluster(connection, facts);
    CHRONOS_TRY(ask_about_jobs(connection, facts));
    CHRONOS_TRY(ask_about_heartbeats(connection, facts));
    return facts;
}

}  // namespace chronos::ops::health
