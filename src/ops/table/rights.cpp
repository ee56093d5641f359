#include "ops/table/rights.h"

#include <optional>

#include "ops/table/needs.h"

namespace chronos::ops::table {
namespace {

constexpr const char* kRule =
    "Who is no superuser needs the privileges of the tables' owner, then and now, of who owned "
    "what comes along with them, and CREATE on the database.";

std::string column_text(const db::Row& row, std::size_t column) {
    return row.at(column).value_or("");
}

/// The role that asked, as the live database has it.
struct Asking {
    std::string oid;
    std::string shown;

    Error refused(const std::string& why) const {
        return Error(ErrorKind::access, "role " + shown + " " + why).with_hint(kRule);
    }
};

Result<bool> has_privileges_of(db::Connection& home, const Asking& asking, const std::string& oid,
                               const std::string& name) {
    const db::Rows rows = CHRONOS_TRY(
        home.query("SELECT pg_catalog.pg_has_role($1::oid, oid, 'USAGE') FROM pg_catalog.pg_roles"
                   " WHERE oid = $2::oid AND rolname = $3",
                   {asking.oid, oid, name}));
    return !rows.empty() && rows.at(0).at(0) == "t";
}

/// Numbers of roles and tables mean the same in one cluster only.
Result<> check_cluster(db::Connection& home, db::Connection& past, const Asking& asking) {
    constexpr const char* kAsk = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
    const db::Rows there = CHRONOS_TRY(home.query(kAsk));
    const db::Rows then = CHRONOS_TRY(past.query(kAsk));
    if (there == then) return {};
    return asking.refused("may not have tables of another cluster");
}

Result<> check_place(db::Connection& home, const Asking& asking) {
    const db::Rows may = CHRONOS_TRY(home.query(
        "SELECT pg_catalog.has_database_privilege($1::oid, pg_catalog.current_database(), p)"
        " FROM pg_catalog.unnest('{CONNECT,CREATE}'::text[]) AS p",
        {asking.oid}));
    for (const db::Row& row : may)
        if (row.at(0) != "t") return asking.refused("may not make a schema in the database");
    return {};
}

Result<> check_owners_then(db::Connection& home, db::Connection& past, const Asking& asking,
                           const std::string& tables) {
    const db::Rows owners = CHRONOS_TRY(
        past.query("SELECT DISTINCT ON (o.oid) o.oid, o.rolname, quote_ident(n.nspname) || '.' ||"
                   " quote_ident(c.relname) FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner"
                   " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::oid[])",
                   {tables}));
    for (const db::Row& owner : owners)
        if (!CHRONOS_TRY(
                has_privileges_of(home, asking, column_text(owner, 0), column_text(owner, 1))))
            return asking.refused("has not the privileges of " + quote_name(column_text(owner, 1)) +
                                  ", who owned " + column_text(owner, 2) + " at the target");
    return {};
}

/// A table is the same under its number, and meant under its name.
Result<> check_owners_now(db::Connection& home, const Asking& asking,
                          const std::vector<PastTable>& tables) {
    std::vector<std::string> schemas, names;
    for (const PastTable& table : tables) {
        schemas.push_back(table.schema);
        names.push_back(table.name);
    }
    const db::Rows owners = CHRONOS_TRY(home.query(
        "SELECT DISTINCT ON (o.oid) o.oid, o.rolname, pg_catalog.quote_ident(n.nspname) || '.' ||"
        " pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_roles o ON o.oid = c.relowner"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = ANY ($1::oid[]) OR (n.nspname, c.relname) IN"
        " (SELECT * FROM ROWS FROM (pg_catalog.unnest($2::name[]), pg_catalog.unnest($3::name[])))",
        {array_of(oids_of(tables)), array_of(schemas), array_of(names)}));
    for (const db::Row& owner : owners)
        if (!CHRONOS_TRY(
                has_privileges_of(home, asking, column_text(owner, 0), column_text(owner, 1))))
            return asking.refused("has not the privileges of " + quote_name(column_text(owner, 1)) +
                                  ", who owns " + column_text(owner, 2) + " now");
    return {};
}

/// The role of TableRequest::for_role; nullopt where nobody is to be asked for: none is, or it is a
/// superuser.
Result<std::optional<Asking>> find_asking(db::Connection& home, const TableRequest& request) {
    if (!request.for_role) return std::optional<Asking>();
    Asking asking{std::to_string(*request.for_role), ""};
    const db::Rows role = CHRONOS_TRY(home.query(
        "SELECT rolname, rolsuper FROM pg_catalog.pg_roles WHERE oid = $1::oid", {asking.oid}));
    if (role.empty()) return Error(ErrorKind::access, "the role that asked for the tables is gone");
    if (role.at(0).at(1) == "t") return std::optional<Asking>();
    asking.shown = quote_name(column_text(role.at(0), 0));
    return std::optional(std::move(asking));
}

}  // namespace

Result<> check_rights(db::Connection& home, db::Connection& past, const TableRequest& request,
                      const std::vector<PastTable>& tables) {
    const auto asking = CHRONOS_TRY(find_asking(home, request));
    if (!asking) return {};
    // Functions in it have the rights of that time: of a superuser who is none any more, too.
    if (!request.where.empty()) return asking->refused("may not have a condition for rows");
    CHRONOS_TRY(check_cluster(home, past, *asking));
    if (!request.only_plan) CHRONOS_TRY(check_place(home, *asking));
    CHRONOS_TRY(check_owners_then(home, past, *asking, array_of(oids_of(tables))));
    return check_owners_now(home, *asking, tables);
}

Result<> check_rights_to_needs(db::Connection& home, db::Connection& past,
                               const TableRequest& request, const std::vector<Need>& needs) {
    const auto asking = CHRONOS_TRY(find_asking(home, request));
    if (!asking) return {};
    for (const db::Row& owner : CHRONOS_TRY(owners_of(past, needs)))
        if (!CHRONOS_TRY(
                has_privileges_of(home, *asking, column_text(owner, 0), column_text(owner, 1))))
            return asking->refused("has not the privileges of " +
                                   quote_name(column_text(owner, 1)) + ", who owned " +
                                   column_text(owner, 2) + " at the target");
    return {};
}

}  // namespace chronos::ops::table
