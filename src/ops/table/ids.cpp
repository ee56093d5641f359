#include "chronos/base/text.h"
#include "ops/table/home.h"
#include "ops/table/past.h"

namespace chronos::ops::table {
namespace {

std::uint32_t number(const db::Rows& rows) {
    if (rows.empty()) return 0;
    return static_cast<std::uint32_t>(parse_uint(rows[0].at(0).value_or("")).value_or(0));
}

Result<TableIds> ids_of(db::Connection& connection, const std::vector<TableName>& tables) {
    TableIds ids;
    ids.database = number(CHRONOS_TRY(connection.query(
        "SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()")));
    for (const TableName& table : tables)
        ids.oids.push_back(number(CHRONOS_TRY(
            connection.query("SELECT c.oid FROM pg_catalog.pg_class c"
                             " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                             " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')",
                             {table.schema, table.name}))));
    return ids;
}

}  // namespace

Result<TableIds> ids_at_home(const TableRequest& request, const Cancellation& cancel) {
    const auto home = CHRONOS_TRY(connect_home(request, request.home, "", cancel));
    return ids_of(*home, request.tables);
}

Result<TableIds> ids_in_past(const TableRequest& request, const Past& past,
                             const Cancellation& cancel) {
    {
        const auto any = CHRONOS_TRY(
            connect_to_past(past, past.user, "template1", request.query_timeout, cancel));
        const db::Rows found = CHRONOS_TRY(any->query(
            "SELECT FROM pg_catalog.pg_database WHERE datname = $1", {request.home.database}));
        if (found.empty()) return TableIds{0, std::vector<std::uint32_t>(request.tables.size(), 0)};
    }
    const auto past_connection = CHRONOS_TRY(
        connect_to_past(past, past.user, request.home.database, request.query_timeout, cancel));
    return ids_of(*past_connection, request.tables);
}

}  // namespace chronos::ops::table
