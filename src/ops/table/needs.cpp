#include "ops/table/needs.h"

#include <algorithm>
#include <map>

#include "chronos/base/text.h"

namespace chronos::ops::table {
namespace {

// The first object that is not the server's own; initdb makes those below.
// $1: tables, with all of their partitions.
constexpr std::string_view kObjectsOfTables = R"sql(
WITH RECURSIVE member AS (SELECT unnest($1::pg_catalog.oid[]) AS oid),
own(classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, oid FROM member
    UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid IN (TABLE member)
    UNION SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
        WHERE conrelid IN (TABLE member) AND contype <> 'f'
    UNION SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid IN (TABLE member)
    UNION SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext
        WHERE stxrelid IN (TABLE member)
    UNION SELECT d.classid, d.objid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid IN (TABLE member) AND d.deptype IN ('a', 'i') AND s.relkind = 'S'
),
obj(classid, objid) AS (
    SELECT d.refclassid, d.refobjid FROM pg_depend d JOIN own USING (classid, objid)
        WHERE d.refobjid >= 16384
            AND d.refclassid IN ('pg_type'::regclass, 'pg_proc'::regclass, 'pg_class'::regclass,
                'pg_collation'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass,
                'pg_opfamily'::regclass, 'pg_am'::regclass, 'pg_ts_config'::regclass,
                'pg_ts_dict'::regclass)
            AND NOT EXISTS (SELECT FROM own o
                WHERE o.classid = d.refclassid AND o.objid = d.refobjid)
            AND (d.refclassid <> 'pg_class'::regclass
                OR (SELECT relkind FROM pg_class WHERE oid = d.refobjid) = 'S')
    UNION SELECT x.classid, x.objid FROM obj o CROSS JOIN LATERAL (
        SELECT 'pg_type'::regclass::oid, part FROM pg_type t,
                unnest(ARRAY[t.typbasetype, t.typelem]) AS part
            WHERE o.classid = 'pg_type'::regclass AND t.oid = o.objid
        UNION ALL SELECT 'pg_type'::regclass, a.atttypid FROM pg_type t
                JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0
                    AND NOT a.attisdropped
            WHERE o.classid = 'pg_type'::regclass AND t.oid = o.objid
        UNION ALL SELECT 'pg_type'::regclass, r.rngsubtype FROM pg_range r
            WHERE o.classid = 'pg_type'::regclass AND r.rngtypid = o.objid
        UNION ALL SELECT 'pg_type'::regclass, r.rngtypid FROM pg_range r
            WHERE o.classid = 'pg_type'::regclass
                AND (to_jsonb(r)->>'rngmultitypid')::oid = o.objid
        UNION ALL SELECT d.refclassid, d.refobjid FROM pg_constraint c
                JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
            WHERE o.classid = 'pg_type'::regclass AND c.contypid = o.objid
                AND d.refclassid IN ('pg_type'::regclass, 'pg_proc'::regclass,
                    'pg_collation'::regclass, 'pg_operator'::regclass)
        UNION ALL SELECT d.refclassid, d.refobjid FROM pg_depend d
            WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'n'
                AND o.classid IN ('pg_type'::regclass, 'pg_proc'::regclass)
                AND d.refclassid IN ('pg_type'::regclass, 'pg_proc'::regclass,
                    'pg_collation'::regclass, 'pg_operator'::regclass)
    ) AS x(classid, objid) WHERE x.objid >= 16384
)
)sql";

// $1: identities.
constexpr std::string_view kObjectsOfIdentities = R"sql(
WITH obj(classid, objid) AS (
    SELECT a.classid, a.objid FROM (
        SELECT 'pg_type'::regclass::oid, oid FROM pg_type
        UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc
        UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relkind = 'S'
        UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation
        UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
        UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
        UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
        UNION ALL SELECT 'pg_am'::regclass, oid FROM pg_am
        UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
    ) AS a(classid, objid)
    WHERE a.objid >= 16384
        AND (pg_identify_object(a.classid, a.objid, 0)).identity = ANY ($1::text[])
)
)sql";

// $1: a schema.
constexpr std::string_view kObjectsOfSchema = R"sql(
WITH obj(classid, objid) AS (
    SELECT 'pg_type'::regclass::oid, t.oid FROM pg_type t WHERE t.typnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
        AND (t.typtype IN ('e', 'd')
            OR t.typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = t.typrelid) = 'c')
    UNION ALL SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p
        WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
    UNION ALL SELECT 'pg_class'::regclass, c.oid FROM pg_class c
        WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relkind = 'S'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
)
)sql";

// Of what belongs to an extension only that counts: its version is the server's business.
constexpr std::string_view kDescribe = R"sql(
SELECT i.type, i.identity, COALESCE(i.schema, ''), COALESCE(
    (SELECT 'of extension ' || quote_ident(e.extname) FROM pg_depend d
        JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'e'
            AND d.refclassid = 'pg_extension'::regclass LIMIT 1),
    (SELECT CASE t.typtype
        WHEN 'd' THEN 'domain over ' || format_type(t.typbasetype, t.typtypmod)
            || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END
            || COALESCE(' DEFAULT ' || t.typdefault, '')
            || COALESCE((SELECT ' COLLATE ' || (pg_identify_object('pg_collation'::regclass, l.oid, 0)).identity
                FROM pg_collation l WHERE l.oid = t.typcollation), '')
            || COALESCE((SELECT string_agg(' ' || pg_get_constraintdef(c.oid), '' ORDER BY c.conname)
                FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'), '')
        WHEN 'e' THEN 'enum' || COALESCE((SELECT string_agg(E'\n' || enumlabel, '' ORDER BY enumsortorder)
                FROM pg_enum WHERE enumtypid = t.oid), '')
        WHEN 'c' THEN 'composite' || COALESCE((SELECT string_agg(' ' || quote_ident(a.attname) || ' '
                    || format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
                FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '')
        WHEN 'r' THEN 'range of ' || (SELECT format_type(r.rngsubtype, NULL) || ' '
                || (pg_identify_object('pg_opclass'::regclass, r.rngsubopc, 0)).identity
                || COALESCE(' COLLATE ' || (SELECT (pg_identify_object('pg_collation'::regclass, l.oid, 0)).identity
                    FROM pg_collation l WHERE l.oid = r.rngcollation), '')
            FROM pg_range r WHERE r.rngtypid = t.oid)
        ELSE 'type' END
        FROM pg_type t WHERE o.classid = 'pg_type'::regclass AND t.oid = o.objid),
    (SELECT CASE WHEN p.prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END
        FROM pg_proc p WHERE o.classid = 'pg_proc'::regclass AND p.oid = o.objid),
    (SELECT 'collation ' || (to_jsonb(l) - 'oid' - 'collowner' - 'collnamespace' - 'collversion')::text
        FROM pg_collation l WHERE o.classid = 'pg_collation'::regclass AND l.oid = o.objid),
    (SELECT 'operator by ' || (pg_identify_object('pg_proc'::regclass, r.oprcode, 0)).identity
        FROM pg_operator r WHERE o.classid = 'pg_operator'::regclass AND r.oid = o.objid),
    ''),
    NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'e')
    AND (o.classid = 'pg_class'::regclass
        OR EXISTS (SELECT FROM pg_type t WHERE o.classid = 'pg_type'::regclass AND t.oid = o.objid
            AND (t.typtype IN ('e', 'd')
                OR t.typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = t.typrelid) = 'c'))
        OR EXISTS (SELECT FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
            WHERE o.classid = 'pg_proc'::regclass AND p.oid = o.objid
                AND p.prokind = 'f' AND l.lanpltrusted AND NOT p.prosecdef
                AND NOT p.proleakproof AND p.prosupport = 0))
FROM obj o CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) AS i
WHERE NOT EXISTS (SELECT FROM pg_type t WHERE o.classid = 'pg_type'::regclass AND t.typarray = o.objid)
ORDER BY i.type COLLATE "C", i.identity COLLATE "C"
)sql";

// What is run for rows, when they come and when an ANALYZE samples them, as the server keeps it:
// ids of functions and operators stand there. A default is for who leaves a column out.
constexpr std::string_view kRunsCode = R"sql(,
code(tree) AS (
    SELECT conbin::text FROM pg_constraint WHERE contype = 'c' AND conrelid IN (TABLE member)
    UNION ALL SELECT d.adbin::text FROM pg_attrdef d
        JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE d.adrelid IN (TABLE member) AND a.attgenerated <> ''
    UNION ALL SELECT partexprs::text FROM pg_partitioned_table WHERE partrelid IN (TABLE member)
    UNION ALL SELECT indexprs::text FROM pg_index WHERE indrelid IN (TABLE member)
    UNION ALL SELECT indpred::text FROM pg_index WHERE indrelid IN (TABLE member)
    UNION ALL SELECT to_jsonb(s)->>'stxexprs' FROM pg_statistic_ext s WHERE stxrelid IN (TABLE member)
),
called(oid) AS (
    SELECT m[1]::oid FROM code, regexp_matches(tree, ':(?:funcid|opfuncid|aggfnoid) (\d+)', 'g') AS m
    UNION SELECT r.oprcode FROM code, regexp_matches(tree, ':opno (\d+)', 'g') AS m
        JOIN pg_operator r ON r.oid = m[1]::oid
)
SELECT EXISTS (SELECT FROM called JOIN pg_proc p USING (oid) JOIN pg_language l ON l.oid = p.prolang
        WHERE p.provolatile <> 'i' OR p.oid >= 16384 AND (l.lanname <> 'c' OR NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                AND d.deptype = 'e')))
    OR EXISTS (SELECT FROM obj JOIN pg_type t ON t.oid = objid
        WHERE classid = 'pg_type'::regclass AND t.typtype IN ('d', 'r'))
)sql";

Result<std::vector<Need>> read_needs(db::Connection& connection, std::string_view objects,
                                     const std::string& parameter) {
    const db::Rows rows =
        CHRONOS_TRY(connection.query(std::string(objects) + std::string(kDescribe), {parameter}));
    std::vector<Need> needs;
    for (const db::Row& row : rows)
        needs.push_back({row.at(0).value_or(""), row.at(1).value_or(""), row.at(2).value_or(""),
                         row.at(3).value_or(""), row.at(4) == "t"});
    return needs;
}

/// Whether all labels of one are labels of the other, in that order.
bool has_labels(std::string_view wanted, std::string_view there) {
    constexpr std::string_view kEnum = "enum\n";
    if (!wanted.starts_with(kEnum) || !there.starts_with(kEnum)) return false;
    const auto labels = split(there, '\n');
    auto at = labels.begin();
    for (const std::string_view label : split(wanted, '\n')) {
        at = std::find(at, labels.end(), label);
        if (at == labels.end()) return false;
        ++at;
    }
    return true;
}

}  // namespace

std::string array_of(const std::vector<std::string>& elements) {
    std::string text = "{";
    for (const std::string& element : elements) {
        text += text.size() == 1 ? "\"" : ",\"";
        for (const char c : element) {
            if (c == '"' || c == '\\') text += '\\';
            text += c;
        }
        text += '"';
    }
    return text + "}";
}

Result<std::vector<Need>> needs_of(db::Connection& past, const std::vector<std::string>& oids) {
    return read_needs(past, kObjectsOfTables, array_of(oids));
}

Result<std::vector<Need>> described(db::Connection& home, const std::vector<Need>& needs) {
    std::vector<std::string> identities;
    identities.reserve(needs.size());
    for (const Need& need : needs) identities.push_back(need.identity);
    return read_needs(home, kObjectsOfIdentities, array_of(identities));
}

std::string Need::sql_name() const {
    return (kind == "function"   ? "FUNCTION "
            : kind == "sequence" ? "SEQUENCE "
                                 : "TYPE ") +
           identity;
}

Result<std::vector<Need>> movable_in(db::Connection& connection, const std::string& schema) {
    return read_needs(connection, kObjectsOfSchema, schema);
}

std::vector<Need> take_movable(std::vector<Need>& needs, const std::vector<Need>& home) {
    std::vector<Need> movable;
    std::erase_if(needs, [&](const Need& need) {
        const bool moves = need.can_move && std::ranges::none_of(home, [&](const Need& there) {
                               return there.kind == need.kind && there.identity == need.identity;
                           });
        if (moves) movable.push_back(need);
        return moves;
    });
    return movable;
}

Result<db::Rows> owners_of(db::Connection& past, const std::vector<Need>& needs) {
    std::vector<std::string> kinds, identities;
    for (const Need& need : needs) {
        kinds.push_back(need.kind);
        identities.push_back(need.identity);
    }
    constexpr std::string_view kOwners = R"sql(
SELECT DISTINCT ON (r.oid) r.oid, r.rolname, i.type || ' ' || i.identity
FROM obj o CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) AS i
    JOIN unnest($2::text[], $1::text[]) AS wanted(type, identity) USING (type, identity)
    JOIN pg_roles r ON r.oid = CASE o.classid
        WHEN 'pg_type'::regclass THEN (SELECT typowner FROM pg_type WHERE oid = o.objid)
        WHEN 'pg_proc'::regclass THEN (SELECT proowner FROM pg_proc WHERE oid = o.objid)
        ELSE (SELECT relowner FROM pg_class WHERE oid = o.objid) END
)sql";
    return past.query(std::string(kObjectsOfIdentities) + std::string(kOwners),
                      {array_of(identities), array_of(kinds)});
}

std::vector<std::string> missing_at_home(const std::vector<Need>& needs,
                                         const std::vector<Need>& home) {
    std::map<std::pair<std::string, std::string>, std::string> there;
    for (const Need& need : home) there[{need.kind, need.identity}] = need.definition;
    std::vector<std::string> missing;
    for (const Need& need : needs) {
        const std::string name = need.kind + " " + need.identity;
        const auto found = there.find({need.kind, need.identity});
        if (found == there.end())
            missing.push_back(name + ": missing");
        else if (found->second != need.definition && !has_labels(need.definition, found->second))
            missing.push_back(name + ": was '" + one_line(need.definition, 200) + "', is '" +
                              one_line(found->second, 200) + "'");
    }
    return missing;
}

Result<bool> runs_code(db::Connection& connection, const std::vector<std::string>& oids) {
    const db::Rows rows = CHRONOS_TRY(
        connection.query(std::string(kObjectsOfTables) + std::string(kRunsCode), {array_of(oids)}));
    return rows.at(0).at(0) != "f";
}

}  // namespace chronos::ops::table
