#include "chronos/db/standby.h"

#include "chronos/base/text.h"
#include "chronos/db/server.h"

namespace chronos::db {
namespace {

/// The answer to a question that has one row.
Result<Row> ask(Connection& connection, std::string_view sql, std::size_t columns,
                const std::string& what) {
    Rows rows = CHRONOS_TRY_DOING(connection.query(sql), what);
    if (rows.size() == 1 && rows.front().size() == columns) return std::move(rows.front());
    return Error(ErrorKind::db_query,
                 "the server's answer about " + what + " is not of the expected form");
}

bool is_true(const std::optional<std::string>& value) {
    return value == "true";
}

}  // namespace

Result<Lsn> replayed_lsn(Connection& connection) {
    const std::string what = "what it has replayed";
    const Row row =
        CHRONOS_TRY(ask(connection, "SELECT pg_catalog.pg_last_wal_replay_lsn()::text", 1, what));
    if (const auto lsn = Lsn::parse(row[0].value_or(""))) return *lsn;
    return Error(ErrorKind::db_query, "the server has replayed nothing");
}

Result<std::string> primary_conninfo(Connection& connection) {
    // Asked for by name it is an error where the role may not know it.
    Row row = CHRONOS_TRY(ask(connection,
                              "SELECT coalesce((SELECT setting FROM pg_catalog.pg_settings"
                              " WHERE name = 'primary_conninfo'), '')",
                              1, "its primary"));
    return std::move(row[0]).value_or("");
}

Result<> check_not_promoted(Connection& connection) {
    const Row row = CHRONOS_TRY(ask(connection, "SELECT pg_catalog.pg_is_in_recovery()::text", 1,
                                    "whether it is a standby"));
    if (is_true(row[0])) return {};
    return Error(ErrorKind::db_mismatch, "the standby was promoted during the backup")
        .with_hint("Take the backup again: it will be that of a primary.");
}

Result<> leave_segment(Connection& primary, std::uint64_t system_id, const std::string& segment) {
    const Row row =
        CHRONOS_TRY(ask(primary,
                        "SELECT pg_catalog.pg_is_in_recovery()::text,"
                        " (SELECT system_identifier::text FROM pg_catalog.pg_control_system())",
                        2, "who it is"));
    if (row[1] != std::to_string(system_id))
        return Error(ErrorKind::db_mismatch, "it is the server of another cluster");
    if (is_true(row[0])) return Error(ErrorKind::db_mismatch, "it is a standby itself");
    const std::string current = CHRONOS_TRY(current_wal_file(primary));
    if (current > segment) return {};
    CHRONOS_TRY_DOING(primary.query("SELECT pg_catalog.pg_switch_wal()::text"),
                      "switch to a new WAL segment");
    return {};
}

}  // namespace chronos::db
