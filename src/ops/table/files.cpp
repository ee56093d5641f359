#include "chronos/base/text.h"
#include "ops/table/needs.h"
#include "ops/table/past.h"

namespace chronos::ops::table {
namespace {

// Of the server's own relations those of this database. Large objects belong to no table.
constexpr std::string_view kCatalogs = R"sql(
SELECT pg_relation_filepath(oid) FROM pg_class
    WHERE oid < 16384 AND oid NOT IN (2613, 2683) AND NOT relisshared
        AND pg_relation_filepath(oid) IS NOT NULL
)sql";

// $1, $2, $3: schemas, names, whether it is the whole schema; $4: whether indexes are read, which
// those of TOAST tables always are.
constexpr std::string_view kTables = R"sql(
WITH RECURSIVE tree(oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN unnest($1::name[], $2::name[], $3::bool[]) AS wanted(nspname, relname, whole)
            ON n.nspname = wanted.nspname AND (whole OR c.relname = wanted.relname)
        WHERE c.relkind IN ('r', 'p')
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree t ON i.inhparent = t.oid
),
toast(oid) AS (SELECT reltoastrelid FROM pg_class WHERE oid IN (TABLE tree) AND reltoastrelid <> 0),
file(oid) AS (
    TABLE tree
    UNION TABLE toast
    UNION SELECT indexrelid FROM pg_index WHERE indrelid IN (TABLE toast)
        OR $4::bool AND indrelid IN (TABLE tree)
    UNION SELECT d.objid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid IN (TABLE tree) AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
    UNION SELECT s.oid FROM pg_attrdef a JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass
            AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
        JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' WHERE a.adrelid IN (TABLE tree)
)
SELECT pg_relation_filepath(oid) FROM file WHERE pg_relation_filepath(oid) IS NOT NULL
)sql";

Result<std::vector<std::string>> files(const TableRequest& request, const Past& past,
                                       const Cancellation& cancel, std::string_view sql,
                                       const std::vector<std::string>& parameters) {
    const auto connection = CHRONOS_TRY(
        connect_to_past(past, past.user, request.home.database, request.query_timeout, cancel));
    std::vector<std::string> paths;
    for (const db::Row& row : CHRONOS_TRY(connection->query(sql, parameters)))
        paths.push_back(row.at(0).value_or(""));
    return paths;
}

}  // namespace

Result<PastDatabase> database_in_past(const TableRequest& request, const Past& past,
                                      const Cancellation& cancel) {
    const auto any =
        CHRONOS_TRY(connect_to_past(past, past.user, "template1", request.query_timeout, cancel));
    const db::Rows rows = CHRONOS_TRY(any->query(
        "SELECT oid, CASE dattablespace WHEN 1663 THEN 'base/' ELSE 'pg_tblspc/' || dattablespace"
        " || '/PG_' || pg_catalog.current_setting('server_version_num')::int / 10000 || '_' ||"
        " (SELECT catalog_version_no FROM pg_catalog.pg_control_system()) || '/' END || oid"
        " FROM pg_catalog.pg_database WHERE datname = $1",
        {request.home.database}));
    if (rows.empty()) return PastDatabase{};
    return PastDatabase{
        static_cast<std::uint32_t>(parse_uint(rows[0].at(0).value_or("")).value_or(0)),
        rows[0].at(1).value_or("")};
}

Result<std::vector<std::string>> catalog_files_in_past(const TableRequest& request,
                                                       const Past& past,
                                                       const Cancellation& cancel) {
    return files(request, past, cancel, kCatalogs, {});
}

Result<std::vector<std::string>> table_files_in_past(const TableRequest& request, const Past& past,
                                                     const Cancellation& cancel) {
    std::vector<std::string> schemas, names, whole;
    for (const TableName& table : request.tables) {
        schemas.push_back(table.schema);
        names.push_back(table.name);
        whole.push_back(table.whole_schema ? "t" : "f");
    }
    return files(
        request, past, cancel, kTables,
        {array_of(schemas), array_of(names), array_of(whole), request.where.empty() ? "f" : "t"});
}

}  // namespace chronos::ops::table
