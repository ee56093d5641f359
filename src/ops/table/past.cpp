#include "ops/table/past.h"

#include <algorithm>
#include <map>
#include <set>

#include "chronos/base/text.h"
#include "ops/table/needs.h"

namespace chronos::ops::table {
namespace {

std::string text_of(const db::Row& row, std::size_t column) {
    return row.at(column).value_or("");
}

std::string plain_name(const TableName& name) {
    return quote_name(name.schema) + "." + quote_name(name.name);
}

// A table with all that inherits from it, parents first.
constexpr std::string_view kTree = R"sql(
WITH RECURSIVE tree(oid, depth) AS (
    SELECT c.oid, 0 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2
    UNION ALL SELECT i.inhrelid, depth + 1 FROM pg_inherits i JOIN tree t ON i.inhparent = t.oid
)
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, pg_get_userbyid(c.relowner),
    quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' LIMIT 1),
    CASE WHEN c.relkind = 'r' THEN pg_relation_size(c.oid) ELSE 0 END,
    c.relnamespace::regnamespace::text
FROM (SELECT oid, min(depth) AS depth FROM tree GROUP BY oid) t JOIN pg_class c USING (oid)
    JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY t.depth, n.nspname, c.relname
)sql";

std::string kind_in_words(const std::string& kind) {
    static const std::map<std::string, std::string> words = {
        {"v", "a view"},     {"m", "a materialized view"}, {"f", "a foreign table"},
        {"S", "a sequence"}, {"c", "a composite type"},    {"i", "an index"},
        {"I", "an index"},   {"t", "a TOAST table"}};
    const auto found = words.find(kind);
    return found == words.end() ? "no table" : found->second;
}

Result<> check_table(const db::Row& row) {
    const std::string shown = text_of(row, 6), kind = text_of(row, 3);
    const auto refuse = [&](const std::string& why) {
        return Error(ErrorKind::feature_not_supported, shown + " cannot be brought back: " + why);
    };
    if (kind != "r" && kind != "p") return refuse("it is " + kind_in_words(kind));
    if (text_of(row, 4) == "u") return refuse("it is unlogged, and empty after any recovery");
    if (text_of(row, 4) != "p") return refuse("it is a temporary table");
    if (row.at(7)) return refuse("it belongs to extension " + *row.at(7));
    constexpr std::string_view kFixed = "pg_catalog information_schema pg_toast";
    for (const std::string_view schema : split(kFixed, ' '))
        if (text_of(row, 1) == schema) return refuse("it is the server's own");
    return {};
}

Error no_table(db::Connection& past, const TableName& name) {
    Error error(ErrorKind::not_found, "there was no table " + plain_name(name) + " in database '" +
                                          printable(name.database) + "' at the target");
    const auto others = past.query(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE lower(c.relname) = lower($1) AND c.relkind IN ('r', 'p') ORDER BY 1 LIMIT 5",
        {name.name});
    if (!others || others->empty()) return error;
    std::vector<std::string> names;
    for (const db::Row& row : *others) names.push_back(text_of(row, 0));
    return std::move(error).with_hint("There was " + join(names, ", ") + ".");
}

/// One column of text.
Result<std::vector<std::string>> texts(db::Connection& connection, std::string_view sql,
                                       const std::vector<std::string>& parameters) {
    std::vector<std::string> result;
    for (const db::Row& row : CHRONOS_TRY(connection.query(sql, parameters)))
        result.push_back(text_of(row, 0));
    return result;
}

// SQL with the old names: of those that hang on the tables, and of foreign keys of others to them.
constexpr std::string_view kLeftOut = R"sql(
SELECT sql FROM (
    SELECT 1, format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
            AND (conrelid = ANY ($1::oid[]) OR confrelid = ANY ($1::oid[]))
    UNION ALL SELECT 2, pg_get_triggerdef(t.oid) FROM pg_trigger t
        WHERE tgrelid = ANY ($1::oid[]) AND NOT tgisinternal
            AND COALESCE((to_jsonb(t)->>'tgparentid')::oid, 0) = 0
    UNION ALL SELECT 3, rtrim(pg_get_ruledef(oid), ';') FROM pg_rewrite
        WHERE ev_class = ANY ($1::oid[]) AND rulename <> '_RETURN'
    UNION ALL SELECT 4, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', oid::regclass)
        FROM pg_class WHERE oid = ANY ($1::oid[]) AND relrowsecurity
    UNION ALL SELECT 5, format('CREATE POLICY %I ON %I.%I AS %s FOR %s TO %s', policyname, schemaname, tablename,
            permissive, cmd, (SELECT string_agg(quote_ident(r), ', ') FROM unnest(roles) AS r))
            || COALESCE(' USING (' || qual || ')', '') || COALESCE(' WITH CHECK (' || with_check || ')', '')
        FROM pg_policies WHERE format('%I.%I', schemaname, tablename)::regclass = ANY ($1::oid[])
    UNION ALL SELECT 6, format('ALTER PUBLICATION %I ADD TABLE %s', p.pubname, r.prrelid::regclass)
        FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = ANY ($1::oid[])
) AS s(number, sql) ORDER BY number, sql
)sql";

// $1: tables, $2: the new schema.
constexpr std::string_view kGrants = R"sql(
WITH member AS (SELECT unnest($1::oid[]) AS oid),
own(oid, table_oid) AS (
    SELECT oid, oid FROM member
    UNION SELECT d.objid, d.refobjid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid IN (TABLE member) AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
),
given AS (
    SELECT o.oid, o.table_oid, a.grantee, a.is_grantable, string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS what
        FROM own o JOIN pg_class c USING (oid), aclexplode(c.relacl) AS a
        WHERE a.grantee <> c.relowner GROUP BY 1, 2, 3, 4
    UNION ALL SELECT o.oid, o.table_oid, a.grantee, a.is_grantable,
            string_agg(format('%s (%I)', a.privilege_type, t.attname), ', ' ORDER BY a.privilege_type, t.attnum)
        FROM own o JOIN pg_class c USING (oid) JOIN pg_attribute t ON t.attrelid = o.oid AND NOT t.attisdropped, aclexplode(t.attacl) AS a
        WHERE a.grantee <> c.relowner GROUP BY 1, 2, 3, 4
)
SELECT CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee) END,
    format('GRANT %s ON %s %I.%I TO ', g.what, k.kind, $2::text, c.relname) || r.name || r.grantable,
    format('GRANT %s ON %s %s TO ', g.what, k.kind, c.oid::regclass) || r.name || r.grantable,
    CASE g.grantee WHEN 0 THEN has_schema_privilege('public'::name, c.relnamespace, 'USAGE')
        ELSE has_schema_privilege(g.grantee, c.relnamespace, 'USAGE') END,
    t.relrowsecurity
FROM given g JOIN pg_class c USING (oid) JOIN pg_class t ON t.oid = g.table_oid
    CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END) AS k(kind)
    CROSS JOIN LATERAL (SELECT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
        CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS r(name, grantable)
ORDER BY 3
)sql";

// $1: a schema. Those that are part of another one of it go with that.
constexpr std::string_view kTablesOfSchema = R"sql(
SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = $1::oid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
            AND d.objid = c.oid AND d.deptype = 'e')
        AND NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
            WHERE i.inhrelid = c.oid AND p.relnamespace = c.relnamespace AND p.relpersistence = 'p')
    ORDER BY 1
)sql";
constexpr std::string_view kOthersOfSchema = R"sql(
SELECT w.kind || ' ' || quote_ident(c.relname) FROM pg_class c CROSS JOIN LATERAL (SELECT CASE
        WHEN c.relkind = 'v' THEN 'view' WHEN c.relkind = 'm' THEN 'materialized view'
        WHEN c.relkind = 'f' THEN 'foreign table' WHEN c.relkind = 'S' THEN 'sequence'
        WHEN c.relpersistence = 'u' THEN 'unlogged table' ELSE 'table' END) AS w(kind)
    WHERE c.relnamespace = $1::oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND (c.relkind NOT IN ('r', 'p') OR c.relpersistence = 'u'
            OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                AND d.objid = c.oid AND d.deptype = 'e'))
        AND (c.relkind <> 'S' OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
            AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
    ORDER BY 1
)sql";

// Statements, in order. $1: tables, $2: the new schema. Partitions and children of tables that are
// not brought back become tables of their own.
constexpr std::string_view kDetach = R"sql(
SELECT CASE WHEN c.relispartition THEN format('ALTER TABLE %s DETACH PARTITION %s', i.inhparent::regclass, c.oid::regclass)
        ELSE format('ALTER TABLE %s NO INHERIT %s', c.oid::regclass, i.inhparent::regclass) END
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE c.oid = ANY ($1::oid[]) AND i.inhparent <> ALL ($1::oid[])
)sql";
constexpr std::string_view kTakeOff = R"sql(
SELECT sql FROM (
    SELECT 1, format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
        WHERE contype = 'f' AND conparentid = 0 AND conrelid = ANY ($1::oid[])
    UNION ALL SELECT 2, format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger t
        WHERE tgrelid = ANY ($1::oid[]) AND NOT tgisinternal AND COALESCE((to_jsonb(t)->>'tgparentid')::oid, 0) = 0
    UNION ALL SELECT 3, format('DROP RULE %I ON %s', rulename, ev_class::regclass) FROM pg_rewrite
        WHERE ev_class = ANY ($1::oid[]) AND rulename <> '_RETURN'
    UNION ALL SELECT 4, format('DROP POLICY %I ON %s', polname, polrelid::regclass) FROM pg_policy
        WHERE polrelid = ANY ($1::oid[])
    UNION ALL SELECT 5, format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', oid::regclass)
        FROM pg_class WHERE oid = ANY ($1::oid[]) AND (relrowsecurity OR relforcerowsecurity)
    UNION ALL SELECT 6, format('ALTER TABLE %s SET SCHEMA %I', oid::regclass, $2::text) FROM pg_class
        WHERE oid = ANY ($1::oid[])
    UNION ALL SELECT 7, format('ALTER STATISTICS %I.%I SET SCHEMA %I', n.nspname, s.stxname, $2::text)
        FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = ANY ($1::oid[])
) AS s(number, sql) ORDER BY number
)sql";

Result<> run_all(db::Connection& connection, const std::vector<std::string>& statements) {
    for (const std::string& sql : statements)
        CHRONOS_TRY_DOING(connection.query(sql), "in the scratch server: " + one_line(sql, 200));
    return {};
}

}  // namespace

Result<std::unique_ptr<db::Connection>> connect_to_past(
    const Past& past, const std::string& user, const std::string& database,
    const Given<std::chrono::milliseconds>& limit, const Cancellation& cancel) {
    db::ConnectOptions options;
    options.database = database;
    options.host = past.socket;
    options.port = past.port;
    options.user = user;
    options.query_timeout = limit;
    // Nothing of the cluster's own comes in between: no library, no event trigger.
    options.options = user == past.user ? "-c session_preload_libraries= -c "
                                          "session_replication_role=replica -c lock_timeout=10s"
                                        : "-c default_transaction_read_only=on";
    return db::connect(options, cancel);
}

Result<> end_prepared(db::Connection& past) {
    const auto statements =
        CHRONOS_TRY(texts(past,
                          "SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts"
                          " WHERE database = current_database()",
                          {}));
    return run_all(past, statements);
}

Result<std::vector<PastTable>> find_tables(db::Connection& past,
                                           const std::vector<TableName>& names) {
    std::vector<PastTable> tables;
    std::set<std::string> known;
    for (const TableName& name : names) {
        const db::Rows rows = CHRONOS_TRY(past.query(kTree, {name.schema, name.name}));
        if (rows.empty()) return no_table(past, name);
        for (const db::Row& row : rows) {
            CHRONOS_TRY(check_table(row));
            // A child may be named beside its parent; it goes with whoever came first.
            if (!known.insert(text_of(row, 0)).second) continue;
            tables.push_back({text_of(row, 0), text_of(row, 1), text_of(row, 2),
                              text_of(rows.front(), 5), text_of(row, 6), name.name,
                              text_of(row, 3) == "r", parse_uint(text_of(row, 8)).value_or(0)});
        }
    }
    return tables;
}

std::vector<std::string> oids_of(const std::vector<PastTable>& tables) {
    std::vector<std::string> oids;
    oids.reserve(tables.size());
    for (const PastTable& table : tables) oids.push_back(table.oid);
    return oids;
}

Result<std::vector<std::string>> left_out(db::Connection& past,
                                          const std::vector<PastTable>& tables) {
    return texts(past, kLeftOut, {array_of(oids_of(tables))});
}

Result<std::vector<Grant>> grants_on(db::Connection& past, const std::vector<PastTable>& tables,
                                     const std::string& schema) {
    std::vector<Grant> grants;
    for (const db::Row& row : CHRONOS_TRY(past.query(kGrants, {array_of(oids_of(tables)), schema})))
        grants.push_back({text_of(row, 0), text_of(row, 1), text_of(row, 2), text_of(row, 3) == "t",
                          text_of(row, 4) == "t"});
    return grants;
}

Result<Expanded> expand(db::Connection& past, const std::vector<TableName>& names) {
    Expanded expanded;
    for (const TableName& name : names) {
        if (!name.whole_schema) {
            expanded.names.push_back(name);
            continue;
        }
        const db::Rows schema = CHRONOS_TRY(
            past.query("SELECT oid FROM pg_namespace WHERE nspname = $1", {name.schema}));
        if (schema.empty())
            return Error(ErrorKind::not_found, "there was no schema " + quote_name(name.schema) +
                                                   " in database '" + printable(name.database) +
                                                   "' at the target");
        const std::string oid = text_of(schema.front(), 0);
        const auto tables = CHRONOS_TRY(texts(past, kTablesOfSchema, {oid}));
        if (tables.empty())
            return Error(ErrorKind::not_found, "schema " + quote_name(name.schema) +
                                                   " in database '" + printable(name.database) +
                                                   "' had no tables at the target");
        for (const std::string& table : tables)
            expanded.names.push_back({name.database, name.schema, table});
        const auto others = CHRONOS_TRY(texts(past, kOthersOfSchema, {oid}));
        if (!others.empty())
            expanded.notes.push_back("Of schema " + quote_name(name.schema) +
                                     " these are not brought back: " + join(others, ", ") + ".");
    }
    return expanded;
}

Result<> move_tables(db::Connection& past, const std::vector<PastTable>& tables,
                     const std::string& schema) {
    const std::string oids = array_of(oids_of(tables));
    CHRONOS_TRY(past.query("CREATE SCHEMA " + quote_name(schema)));
    const auto detach = CHRONOS_TRY(texts(past, kDetach, {oids}));
    CHRONOS_TRY(run_all(past, detach));
    const auto take_off = CHRONOS_TRY(texts(past, kTakeOff, {oids, schema}));
    return run_all(past, take_off);
}

Result<> move_needs(db::Connection& past, const std::vector<Need>& needs,
                    const std::string& schema) {
    std::vector<std::string> statements;
    for (const Need& need : needs)
        statements.push_back("ALTER " + need.sql_name() + " SET SCHEMA " + quote_name(schema));
    return run_all(past, statements);
}

Result<> make_reader(db::Connection& past) {
    const db::Rows known =
        CHRONOS_TRY(past.query("SELECT FROM pg_roles WHERE rolname = $1", {kReader}));
    // Whatever somebody gave a role of that name, this one must not have.
    if (!known.empty())
        return Error(ErrorKind::db_invalid, std::string("the cluster had a role '") + kReader +
                                                "', which is made to read the tables");
    CHRONOS_TRY(past.query(std::string("CREATE ROLE ") + kReader + " LOGIN"));
    // Goes before what ALTER DATABASE says, as this session has it.
    CHRONOS_TRY(past.query(std::string("ALTER ROLE ") + kReader +
                           " SET session_preload_libraries FROM CURRENT"));
    return {};
}

Result<> let_read(db::Connection& past, const std::vector<PastTable>& tables,
                  const std::string& schema) {
    const std::string to = std::string(" TO ") + kReader;
    for (const PastTable& table : tables) {
        const std::string name = quote_name(schema.empty() ? table.schema : schema);
        CHRONOS_TRY(past.query("GRANT USAGE ON SCHEMA " + name + to));
        CHRONOS_TRY(past.query("GRANT SELECT ON " + name + "." + quote_name(table.name) + to));
    }
    return {};
}

Result<> check_condition(db::Connection& reader, const std::vector<PastTable>& tables,
                         const std::string& where) {
    for (const PastTable& table : tables) {
        const auto planned = reader.query("EXPLAIN SELECT FROM ONLY " + quote_name(table.schema) +
                                          "." + quote_name(table.name) + " AS " +
                                          quote_name(table.root_name) + " WHERE (" + where + "\n)");
        // Of a policy nothing is known here yet, and it is left out.
        if (!planned && planned.error().message().find("row-level security") == std::string::npos)
            return Error(ErrorKind::option_invalid_value,
                         "--where, of " + table.shown + ": " + planned.error().message());
    }
    return {};
}

Result<> set_schema_aside(db::Connection& past, const std::string& schema, std::size_t number) {
    CHRONOS_TRY(past.query("ALTER SCHEMA " + quote_name(schema) + " RENAME TO chronos_taken_" +
                           std::to_string(number)));
    return {};
}

Result<std::vector<SequenceValue>> sequence_values(db::Connection& past,
                                                   const std::string& schema) {
    std::vector<SequenceValue> values;
    for (const std::string& name : CHRONOS_TRY(
             texts(past,
                   "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                   " WHERE n.nspname = $1 AND c.relkind = 'S' ORDER BY 1",
                   {schema}))) {
        const db::Rows rows = CHRONOS_TRY(past.query("SELECT last_value, is_called FROM " +
                                                     quote_name(schema) + "." + quote_name(name)));
        values.push_back({name, text_of(rows.at(0), 0), text_of(rows.at(0), 1)});
    }
    return values;
}

Result<std::string> copied_columns(db::Connection& past, const PastTable& table) {
    const db::Rows rows = CHRONOS_TRY(
        past.query("SELECT '(' || string_agg(quote_ident(attname), ', ' ORDER BY attnum) || ')'"
                   " FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0"
                   " AND NOT attisdropped AND attgenerated = ''",
                   {table.oid}));
    return text_of(rows.at(0), 0);
}

std::string copy_out_statement(const PastTable& table, const std::string& schema,
                               const std::string& columns, const std::string& where) {
    const std::string name = quote_name(schema) + "." + quote_name(table.name);
    if (where.empty()) return "COPY " + name + " " + columns + " TO STDOUT";
    const std::string listed =
        columns.empty() ? "" : std::string(columns.substr(1, columns.size() - 2));
    // A comment at the end of the condition takes nothing with it.
    return "COPY (SELECT " + listed + " FROM ONLY " + name + " AS " + quote_name(table.root_name) +
           " WHERE (" + where + "\n)) TO STDOUT";
}

}  // namespace chronos::ops::table
