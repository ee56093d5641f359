#include "chronos/db/server.h"

#include <algorithm>
#include <chrono>

#include "chronos/base/text.h"

namespace chronos::db {
namespace {

Error malformed(std::string_view what) {
    return {ErrorKind::db_query,
            "the server's answer about " + std::string(what) + " is not of the expected form"};
}

Result<Row> one_row(Connection& connection, std::string_view sql,
                    const std::vector<std::string>& parameters, std::size_t columns,
                    std::string_view what) {
    Rows rows = CHRONOS_TRY_DOING(connection.query(sql, parameters), std::string(what));
    if (rows.size() != 1 || rows.front().size() != columns) return malformed(what);
    return std::move(rows.front());
}

Result<std::uint64_t> number(const std::optional<std::string>& value, std::string_view what) {
    const std::optional<std::uint64_t> parsed = value ? parse_uint(*value) : std::nullopt;
    if (!parsed) return malformed(what);
    return *parsed;
}

Result<unsigned> small_number(const std::optional<std::string>& value, std::string_view what) {
    return static_cast<unsigned>(CHRONOS_TRY(number(value, what)));
}

Result<Lsn> lsn_of(const std::optional<std::string>& value, std::string_view what) {
    const std::optional<Lsn> lsn = value ? Lsn::parse(*value) : std::nullopt;
    if (!lsn) return malformed(what);
    return *lsn;
}

bool truth(const std::optional<std::string>& value) {
    return value && (*value == "t" || *value == "true" || *value == "on");
}

// current_setting() prints units; pg_settings has plain numbers in the unit of the setting. The
// casts are there because the columns of one row must all come as text over either connection.
constexpr std::string_view kFactsQuery =
    "SELECT pg_catalog.current_setting('server_version_num'),"
    " pg_catalog.current_setting('data_directory'),"
    " (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),"
    " pg_catalog.pg_is_in_recovery()::text,"
    " pg_catalog.current_setting('data_checksums'),"
    " pg_catalog.current_setting('archive_mode'),"
    " pg_catalog.current_setting('archive_command'),"
    " coalesce(pg_catalog.current_setting('archive_library', true), ''),"
    " pg_catalog.current_setting('shared_preload_libraries'),"
    " pg_catalog.current_setting('wal_level'),"
    " pg_catalog.current_setting('max_wal_senders'),"
    " (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'archive_timeout'),"
    " (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'checkpoint_timeout')";

// A superuser has all of it. The second line of functions is for everybody, until somebody hardens
// a server.
constexpr std::string_view kMissingGrantsQuery =
    "WITH who AS (SELECT oid FROM pg_catalog.pg_roles"
    "  WHERE rolname = coalesce(nullif($1, ''), current_user))"
    " SELECT what FROM who, (VALUES"
    "  (1, 'pg_backup_start(text, boolean)'), (2, 'pg_backup_stop(boolean)'),"
    "  (3, 'pg_create_restore_point(text)'), (4, 'pg_switch_wal()'),"
    "  (5, 'pg_try_advisory_lock(bigint)'), (6, 'pg_advisory_unlock(bigint)'),"
    "  (7, 'pg_walfile_name(pg_lsn)'), (8, 'pg_current_wal_lsn()'),"
    "  (9, 'pg_current_wal_insert_lsn()')) AS f (place, name),"
    "  LATERAL (SELECT 'EXECUTE ON FUNCTION pg_catalog.' || f.name AS what) AS w"
    " WHERE NOT pg_catalog.has_function_privilege(who.oid, 'pg_catalog.' || f.name, 'EXECUTE')"
    " UNION ALL SELECT 'pg_monitor' FROM who"
    "  WHERE NOT pg_catalog.pg_has_role(who.oid, 'pg_monitor', 'USAGE')"
    " UNION ALL SELECT 'CREATE ROLE: there is no such role'"
    "  WHERE NOT EXISTS (SELECT FROM who)"
    " ORDER BY 1";

/// The number of pgBackRest's lock, as its sessions show it.
constexpr std::string_view kTakeLock =
    "SELECT pg_catalog.pg_try_advisory_lock(12340078987004321)::text";
constexpr std::string_view kReleaseLock =
    "SELECT pg_catalog.pg_advisory_unlock(12340078987004321)::text";
/// Such locks are of one database each, and whoever backs up may have chosen another one.
/// pgBackRest 2.60 takes none any more, but says what its session is for.
constexpr std::string_view kLockHolders =
    "SELECT l.pid::text, coalesce(a.application_name, ''),"
    " (l.pid = pg_catalog.pg_backend_pid())::text FROM pg_catalog.pg_locks l"
    " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory'"
    " AND l.granted AND l.objsubid = 1"
    " AND (l.classid::bigint << 32) + l.objid::bigint = 12340078987004321"
    " UNION SELECT pid::text, application_name, 'false' FROM pg_catalog.pg_stat_activity"
    " WHERE application_name = 'pgBackRest [backup]'";

/// An engine that was killed leaves its lock to a session that has yet to notice.
constexpr std::chrono::seconds kLockPatience(1);
constexpr std::chrono::milliseconds kLockPause(100);

Error lock_is_taken(const Rows& holders) {
    std::string message = "unable to acquire pgBackRest advisory lock";
    for (const Row& row : holders)
        if (row.size() == 3 && !truth(row[2]))
            message += ": server process " + row[0].value_or("?") + " (" +
                       printable(row[1].value_or("")) + ") backs up";
    return Error(ErrorKind::lock_acquire, std::move(message))
        .with_hint(
            "Is another backup of this cluster running, with other lock files or on another"
            " host?");
}

bool held_by_others(const Rows& holders) {
    return std::ranges::any_of(holders,
                               [](const Row& row) { return row.size() != 3 || !truth(row[2]); });
}

constexpr std::string_view kModule = "chronos_backup";

std::string module_of(const std::string& archive_library) {
    std::string name = archive_library.substr(archive_library.rfind('/') + 1);
    if (name.ends_with(".so")) name.resize(name.size() - 3);
    return name;
}

bool names_an_archiver(const std::string& command) {
    return command.find("pgbackrest") != std::string::npos ||
           command.find("chronos") != std::string::npos;
}

}  // namespace

std::string ServerFacts::archive_module() const {
    return module_of(archive_library);
}

std::string foreign_archiver(const std::string& archive_library,
                             const std::string& archive_command) {
    if (!archive_library.empty())
        return module_of(archive_library) == kModule
                   ? ""
                   : "archive_library = '" + archive_library + "'";
    return names_an_archiver(archive_command) ? "" : "archive_command = '" + archive_command + "'";
}

Result<std::vector<std::string>> missing_grants(Connection& connection, const std::string& role) {
    const db::Rows rows = CHRONOS_TRY_DOING(connection.query(kMissingGrantsQuery, {role}),
                                            "look at the privileges of the role");
    std::vector<std::string> missing;
    for (const Row& row : rows)
        if (!row.empty()) missing.push_back(row[0].value_or(""));
    return missing;
}

Result<ServerFacts> read_server_facts(Connection& connection) {
    constexpr std::string_view what = "settings";
    const Row row = CHRONOS_TRY(one_row(connection, kFactsQuery, {}, 13, what));
    ServerFacts facts;
    facts.version_num = CHRONOS_TRY(small_number(row[0], what));
    facts.data_directory = row[1].value_or("");
    facts.system_id = CHRONOS_TRY(number(row[2], what));
    facts.in_recovery = truth(row[3]);
    facts.data_checksums = truth(row[4]);
    facts.archive_mode = row[5].value_or("");
    facts.archive_command = row[6].value_or("");
    facts.archive_library = row[7].value_or("");
    facts.shared_preload_libraries = row[8].value_or("");
    facts.wal_level = row[9].value_or("");
    facts.max_wal_senders = CHRONOS_TRY(small_number(row[10], what));
    facts.archive_timeout_s = CHRONOS_TRY(small_number(row[11], what));
    facts.checkpoint_timeout_s = CHRONOS_TRY(small_number(row[12], what));
    return facts;
}

Result<> check_archiving(const ServerFacts& facts, bool mode_check) {
    if (facts.archive_mode == "off")
        return Error(ErrorKind::archive_disabled, "archive_mode must be enabled");
    if (mode_check && facts.archive_mode == "always")
        return Error(ErrorKind::feature_not_supported, "archive_mode=always not supported");
    if (!facts.archive_library.empty()) {
        if (facts.archive_module() == kModule) return {};
        return Error(ErrorKind::archive_command_invalid,
                     "archive_library '" + facts.archive_library + "' must be chronos_backup");
    }
    if (names_an_archiver(facts.archive_command)) return {};
    return Error(ErrorKind::archive_command_invalid, "archive_command '" + facts.archive_command +
                                                         "' must contain chronos or pgbackrest")
        .with_hint("Set archive_library = 'chronos_backup', or archive with chronos archive-push.");
}

Result<ServerTime> server_time(Connection& connection) {
    constexpr std::string_view what = "its clock";
    const Row row = CHRONOS_TRY(one_row(
        connection, "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint::text", {},
        1, what));
    const std::uint64_t milliseconds = CHRONOS_TRY(number(row[0], what));
    return ServerTime{static_cast<UnixTime>(milliseconds / 1000),
                      static_cast<unsigned>(milliseconds % 1000)};
}

Result<std::vector<Database>> list_databases(Connection& connection) {
    constexpr std::string_view what = "databases";
    const Rows rows = CHRONOS_TRY_DOING(
        connection.query("SELECT datname::text, oid::text, (SELECT oid FROM pg_catalog.pg_database"
                         " WHERE datname = 'template0')::text FROM pg_catalog.pg_database"
                         " ORDER BY datname COLLATE \"C\""),
        "list databases");
    std::vector<Database> databases;
    for (const Row& row : rows) {
        if (row.size() != 3 || !row[0]) return malformed(what);
        Database& database = databases.emplace_back();
        database.name = *row[0];
        database.oid = CHRONOS_TRY(small_number(row[1], what));
        // template0 may have been dropped; then nothing below a user's first oid is known.
        database.last_system_oid = row[2] ? CHRONOS_TRY(small_number(row[2], what)) : 0;
    }
    return databases;
}

Result<std::vector<Tablespace>> list_tablespaces(Connection& connection) {
    constexpr std::string_view what = "tablespaces";
    const Rows rows = CHRONOS_TRY_DOING(
        connection.query("SELECT oid::text, spcname::text FROM pg_catalog.pg_tablespace"
                         " WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid"),
        "list tablespaces");
    std::vector<Tablespace> tablespaces;
    for (const Row& row : rows) {
        if (row.size() != 2 || !row[1]) return malformed(what);
        tablespaces.push_back({CHRONOS_TRY(small_number(row[0], what)), *row[1]});
    }
    return tablespaces;
}

Result<Lsn> current_insert_lsn(Connection& connection) {
    constexpr std::string_view what = "its WAL position";
    const Row row = CHRONOS_TRY(
        one_row(connection, "SELECT pg_catalog.pg_current_wal_insert_lsn()::text", {}, 1, what));
    return lsn_of(row[0], what);
}

Result<Lsn> start_backup(Connection& connection, const std::string& label, bool fast) {
    constexpr std::string_view what = "start of the backup";
    const Row row =
        CHRONOS_TRY(one_row(connection, "SELECT pg_catalog.pg_backup_start($1, $2::boolean)::text",
                            {label, fast ? "true" : "false"}, 1, what));
    return lsn_of(row[0], what);
}

Result<std::string> take_backup_lock(Connection& connection, const Cancellation& cancel) {
    constexpr std::string_view what = "the backup lock";
    const Deadline patience(kLockPatience);
    for (;;) {
        const Row taken = CHRONOS_TRY(one_row(connection, kTakeLock, {}, 1, what));
        const Rows holders = CHRONOS_TRY_DOING(connection.query(kLockHolders), "look at locks");
        if (truth(taken[0]) && !held_by_others(holders)) break;
        if (truth(taken[0])) release_backup_lock(connection);
        if (patience.passed()) return lock_is_taken(holders);
        CHRONOS_TRY(cancel.sleep(kLockPause));
    }
    Row row = CHRONOS_TRY(
        one_row(connection,
                "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system())"
                " || '-' || floor(extract(epoch FROM pg_catalog.pg_postmaster_start_time())"
                " * 1000000)::bigint::text",
                {}, 1, what));
    return std::move(row[0]).value_or("");
}

// A session that is gone has given it back.
void release_backup_lock(Connection& connection) {
    (void)connection.query(kReleaseLock);
}

Result<bool> has_backup_lock(Connection& connection) {
    const Rows holders = CHRONOS_TRY_DOING(connection.query(kLockHolders), "look at locks");
    return std::ranges::any_of(holders,
                               [](const Row& row) { return row.size() == 3 && truth(row[2]); });
}

Result<StoppedBackup> stop_backup(Connection& connection) {
    constexpr std::string_view what = "stop of the backup";
    // Not waiting for the archive here: a wait that is given up would lose the label.
    const Row row = CHRONOS_TRY(one_row(
        connection, "SELECT lsn::text, labelfile, spcmapfile FROM pg_catalog.pg_backup_stop(false)",
        {}, 3, what));
    StoppedBackup stopped;
    stopped.lsn = CHRONOS_TRY(lsn_of(row[0], what));
    if (!row[1] || row[1]->empty()) return malformed("the backup label");
    stopped.backup_label = *row[1];
    stopped.tablespace_map = row[2].value_or("");
    return stopped;
}

Result<Lsn> switch_wal(Connection& connection, const std::string& restore_point) {
    constexpr std::string_view what = "switch of the WAL segment";
    CHRONOS_TRY_DOING(
        connection.query("SELECT pg_catalog.pg_create_restore_point($1)::text", {restore_point}),
        "create restore point");
    const Row row =
        CHRONOS_TRY(one_row(connection, "SELECT pg_catalog.pg_switch_wal()::text", {}, 1, what));
    return lsn_of(row[0], what);
}

Result<std::string> current_wal_file(Connection& connection) {
    constexpr std::string_view what = "name of the current WAL segment";
    const Row row = CHRONOS_TRY(one_row(
        connection, "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())", {},
        1, what));
    if (!row[0]) return malformed(what);
    return *row[0];
}

}  // namespace chronos::db
