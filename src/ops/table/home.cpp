#include "ops/table/home.h"

#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/cipher.h"
#include "chronos/os/process.h"

namespace chronos::ops::table {
namespace {

constexpr const char* kSessionName = "chronos-recover-table-";

/// By which sessions are found that must end.
std::string session_name(const TableRequest& request) {
    return kSessionName + request.exec_id;
}

/// What the comments of a schema that is not complete, and of a role, say between these.
constexpr std::pair<const char*, const char*> kOfSchema{"chronos recover-table ", ": not complete"};
constexpr std::pair<const char*, const char*> kOfRole{"made by chronos recover-table ",
                                                      ", which removes it"};

std::string sql_text(std::string_view text) {
    std::string quoted = "'";
    for (const char c : text) quoted.append(c == '\'' ? 2 : 1, c);
    return quoted + "'";
}

std::string comment_of(const std::pair<const char*, const char*>& words,
                       const TableRequest& request) {
    return sql_text(words.first + request.exec_id + words.second);
}

/// The end of a role that was made for this, with sessions of its own that its code has made.
Result<> drop_role(db::Connection& home, const std::string& role) {
    CHRONOS_TRY(home.query("ALTER ROLE " + role + " NOLOGIN"));
    CHRONOS_TRY(
        home.query("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                   " WHERE usename = $1",
                   {role}));
    CHRONOS_TRY(home.query("DROP OWNED BY " + role + " CASCADE"));
    CHRONOS_TRY(home.query("DROP ROLE " + role));
    return {};
}

/// Also those of programs that were killed: their statements would keep locks.
Result<> end_sessions(db::Connection& home, const std::string& name) {
    const Cancellation never;
    const Deadline deadline(std::chrono::seconds(60));
    for (;;) {
        const db::Rows rows = CHRONOS_TRY(home.query(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
            " WHERE application_name = $1 AND pid <> pg_catalog.pg_backend_pid()",
            {name}));
        if (rows.empty()) return {};
        if (deadline.passed()) return Error(ErrorKind::db_query, "a session of ours does not end");
        CHRONOS_TRY(never.sleep(std::chrono::milliseconds(100)));
    }
}

/// Names of what a command has left that has no session any more: while it lives it has one. The
/// first parameter of the query is a regular expression for its comment, the second what the names
/// of its sessions begin with. This session is none of them.
Result<std::vector<std::string>> leftovers(db::Connection& home, const char* query,
                                           const std::pair<const char*, const char*>& words) {
    std::vector<std::string> names;
    for (const db::Row& row : CHRONOS_TRY(home.query(
             query, {std::string("^") + words.first + "([0-9]+-[0-9a-f]{8})" + words.second + "$",
                     kSessionName})))
        names.push_back(row.at(0).value_or(""));
    return names;
}

// Those of this session's role: no other one could be led to remove what is not its own.
constexpr const char* kLeftSchemas =
    "SELECT n.nspname FROM pg_catalog.pg_namespace n,"
    " pg_catalog.substring(pg_catalog.obj_description(n.oid, 'pg_namespace'), $1::text) AS id"
    " WHERE n.nspowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)"
    " AND id IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity"
    " WHERE application_name = $2::text || id AND pid <> pg_catalog.pg_backend_pid())";
// One that has something in another database is left to whoever comes there.
constexpr const char* kLeftRoles =
    "SELECT r.rolname FROM pg_catalog.pg_roles r,"
    " pg_catalog.substring(pg_catalog.shobj_description(r.oid, 'pg_authid'), $1::text) AS id"
    " WHERE r.rolname ~ '^chronos_recover_[0-9a-f]{8}$' AND id IS NOT NULL"
    " AND (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user)"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity"
    " WHERE application_name = $2::text || id AND pid <> pg_catalog.pg_backend_pid())"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend d"
    " WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = r.oid"
    " AND d.dbid NOT IN (0, (SELECT oid FROM pg_catalog.pg_database"
    " WHERE datname = pg_catalog.current_database())))";

Result<> remove_leftovers(db::Connection& home) {
    for (const std::string& name : CHRONOS_TRY(leftovers(home, kLeftSchemas, kOfSchema))) {
        log_info("remove schema " + quote_name(name) + ", which a killed command has left");
        if (const auto gone = home.query("DROP SCHEMA " + quote_name(name) + " CASCADE"); !gone)
            log_warn("it could not be removed: " + gone.error().message());
    }
    for (const std::string& name : CHRONOS_TRY(leftovers(home, kLeftRoles, kOfRole))) {
        log_info("remove role " + quote_name(name) + ", which a killed command has left");
        if (const auto gone = drop_role(home, name); !gone)
            log_warn("it could not be removed: " + gone.error().message());
    }
    return {};
}

/// A value of a connection string of libpq.
std::string connection_value(std::string_view text) {
    std::string quoted = "'";
    for (const char c : text) {
        if (c == '\'' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return quoted + "'";
}

std::string connection_string(const Home& home) {
    std::string text = "dbname=" + connection_value(home.database);
    if (!home.host.empty()) text += " host=" + connection_value(home.host);
    if (home.port != 0) text += " port=" + std::to_string(home.port);
    if (!home.user.empty()) text += " user=" + connection_value(home.user);
    for (const auto& [name, value] : home.parameters)
        text += " " + name + "=" + connection_value(value);
    return text;
}

/// What a program says went wrong, of all that it says.
std::string complaint(const std::string& output) {
    std::vector<std::string> lines;
    for (const std::string_view line : split(output, '\n'))
        if (line.find("error:") != std::string_view::npos || line.starts_with("ERROR:") ||
            line.starts_with("DETAIL:") || line.starts_with("HINT:"))
            lines.emplace_back(trim(line));
    return one_line(lines.empty() ? output : join(lines, "; "));
}

}  // namespace

Result<std::unique_ptr<db::Connection>> connect_home(const TableRequest& request, const Home& home,
                                                     const std::string& password,
                                                     const Cancellation& cancel) {
    db::ConnectOptions options;
    options.database = home.database;
    options.host = home.host;
    options.port = home.port;
    options.user = home.user;
    options.password = password;
    options.query_timeout = request.query_timeout;
    options.name = session_name(request);
    options.parameters = home.parameters;
    return db::connect(options, cancel);
}

Result<> check_schema_name(const std::string& schema) {
    constexpr std::size_t kNameMax = 63;
    const bool fits = !schema.empty() && schema.size() <= kNameMax &&
                      without_controls(schema) == schema && schema.find('\n') == std::string::npos;
    if (fits) return {};
    return Error(ErrorKind::option_invalid_value,
                 "'" + printable(schema) + "' is no name for a schema: it has 1 to 63 bytes");
}

Result<> check_schema_is_new(db::Connection& home, const std::string& schema) {
    const db::Rows rows =
        CHRONOS_TRY(home.query("SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1", {schema}));
    if (rows.empty()) return {};
    return Error(ErrorKind::option_invalid_value,
                 "the live database has a schema " + quote_name(schema) + " already")
        .with_hint("--into names another one; what is there is never touched.");
}

Result<> check_home(const TableRequest& request, const Cancellation& cancel) {
    if (!request.into.empty()) CHRONOS_TRY(check_schema_name(request.into));
    const auto home = CHRONOS_TRY(connect_home(request, request.home, "", cancel));
    const db::Rows rows = CHRONOS_TRY(home->query("SELECT pg_catalog.pg_is_in_recovery()"));
    if (rows.at(0).at(0) != "f")
        return Error(ErrorKind::feature_not_supported,
                     "the live server is a standby, which nothing can be written to")
            .with_hint("Run it on the primary, or name that by pg1-socket-path and pg1-port.");
    if (!request.only_plan) CHRONOS_TRY(remove_leftovers(*home));
    return request.into.empty() ? Result<>() : check_schema_is_new(*home, request.into);
}

Result<> tidy_home(const TableRequest& request, const Cancellation& cancel) {
    const auto home = CHRONOS_TRY(connect_home(request, request.home, "", cancel));
    CHRONOS_TRY(end_sessions(*home, session_name(request)));
    return remove_leftovers(*home);
}

Result<std::unique_ptr<NewSchema>> NewSchema::create(const TableRequest& request,
                                                     const std::string& schema,
                                                     const Cancellation& cancel) {
    std::unique_ptr<NewSchema> made(new NewSchema(request, schema, cancel));
    made->control_ = CHRONOS_TRY(connect_home(request, request.home, "", made->never_));
    const db::Rows caller = CHRONOS_TRY(made->ask(
        "SELECT session_user, rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user"));
    made->caller_ = caller.at(0).at(0).value_or("");
    made->caller_is_superuser_ = caller.at(0).at(1) == "t";
    CHRONOS_TRY(check_schema_is_new(*made->control_, schema));
    CHRONOS_TRY(made->ask("BEGIN"));
    CHRONOS_TRY_DOING(made->ask("CREATE SCHEMA " + quote_name(schema)),
                      "make schema " + quote_name(schema));
    CHRONOS_TRY(made->let_nobody_in());
    CHRONOS_TRY(made->ask("COMMENT ON SCHEMA " + quote_name(schema) + " IS " +
                          comment_of(kOfSchema, request)));
    made->id_ = CHRONOS_TRY(made->id_now());
    CHRONOS_TRY(made->ask("COMMIT"));
    made->made_ = true;
    return made;
}

NewSchema::~NewSchema() {
    if (kept_ || !made_) return;
    if (const auto removed = remove(); !removed)
        log_warn("schema " + quote_name(name_) +
                 " is incomplete, and could not be removed: " + removed.error().text());
}

Result<db::Rows> NewSchema::ask(std::string_view sql, const std::vector<std::string>& parameters) {
    auto rows = control_->query(sql, parameters);
    // What a backup would need is none of it.
    if (!rows && rows.error().message().find("SQLSTATE 42501") != std::string::npos)
        return Error(rows.error().kind(), rows.error().message())
            .with_hint(
                "The role that connects needs CREATE on the database and to be a member of the "
                "owners of the tables, unless it is a superuser.");
    return rows;
}

Result<> NewSchema::begin(const std::string& owner, bool code, const std::vector<Need>& needs) {
    writer_.reset();
    owner_ = owner.empty() ? caller_ : owner;
    owners_.push_back(owner_);
    writer_home_ = request_.home;
    writer_password_.clear();
    has_code_ = code;
    if (code && caller_is_superuser_) return make_role(owner, needs);
    if (code && owner_ != caller_)
        return Error(ErrorKind::access, "the tables run code of users, and role " +
                                            quote_name(caller_) +
                                            " cannot have it run as somebody who can do less")
            .with_hint("pg1-user may name a superuser, or " + quote_name(owner_) + ".");
    writer_ = CHRONOS_TRY(connect_home(request_, writer_home_, "", cancel_));
    return {};
}

Result<> NewSchema::make_role(const std::string& owner, const std::vector<Need>& needs) {
    const std::string name = "chronos_recover_" + crypto::random_hex8();
    const std::string password = crypto::generate_passphrase();
    const std::string verifier = CHRONOS_TRY(db::password_verifier(*control_, name, password));
    const db::Rows limit = CHRONOS_TRY(ask("SELECT (pg_catalog.now() + '1 day')::text"));
    CHRONOS_TRY_DOING(
        ask("CREATE ROLE " + name + " LOGIN CONNECTION LIMIT 8 PASSWORD " + sql_text(verifier) +
            " VALID UNTIL " + sql_text(limit.at(0).at(0).value_or(""))),
        "make a role that runs the code of the tables");
    role_ = name;
    CHRONOS_TRY(ask("COMMENT ON ROLE " + role_ + " IS " + comment_of(kOfRole, request_)));
    const std::string schema = quote_name(name_);
    CHRONOS_TRY(ask("GRANT CREATE, USAGE ON SCHEMA " + schema + " TO " + role_));
    const db::Rows super =
        CHRONOS_TRY(ask("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = $1", {owner}));
    if (!super.empty() && super.at(0).at(0) == "f") {
        CHRONOS_TRY(ask("GRANT " + quote_name(owner) + " TO " + role_));
    } else {
        // Whoever is a superuser could be reached by the code: of his rights these are enough.
        std::set<std::string> schemas;
        for (const Need& need : needs)
            if (!need.schema.empty()) schemas.insert(need.schema);
        for (const std::string& needed : schemas)
            CHRONOS_TRY(ask("GRANT USAGE ON SCHEMA " + needed + " TO " + role_));
    }
    return log_in(password);
}

/// Over the way of the caller, or over TCP, which lets roles in by password more often.
Result<> NewSchema::log_in(const std::string& password) {
    const db::Rows port = CHRONOS_TRY(ask("SELECT pg_catalog.current_setting('port')"));
    std::vector<std::string> hosts = {request_.home.host};
    if (request_.home.host.empty() || request_.home.host.starts_with('/'))
        hosts.insert(hosts.end(), {"127.0.0.1", "::1"});
    std::string why;
    for (const std::string& host : hosts) {
        Home home = request_.home;
        home.host = host;
        home.user = role_;
        if (host != request_.home.host)
            home.port =
                static_cast<unsigned>(parse_uint(port.at(0).at(0).value_or("")).value_or(0));
        auto session = connect_home(request_, home, password, cancel_);
        if (session) {
            writer_ = std::move(*session);
            writer_home_ = home;
            writer_password_ = password;
            return {};
        }
        why += (why.empty() ? "" : "; ") + one_line(session.error().message(), 300);
    }
    return Error(ErrorKind::db_connect,
                 "the tables run code of users - a function in a check, a generated column or an "
                 "index, or a domain - and a role that may run it, made for this and removed "
                 "again, was not let in: " +
                     why)
        .with_hint(
            "pg_hba.conf must let roles in by password, over the socket or from 127.0.0.1: "
            "\"host all all 127.0.0.1/32 scram-sha-256\".");
}

Result<> NewSchema::make_tables(const Past& past, const std::string& file,
                                const std::vector<std::string>& tables) {
    CHRONOS_TRY(restore(past, file, "pre-data"));
    if (has_code_) return {};
    std::vector<std::string> oids;
    for (const db::Row& row : CHRONOS_TRY(
             ask("SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                 " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')"
                 " AND c.relname = ANY ($2::name[])",
                 {name_, array_of(tables)})))
        oids.push_back(row.at(0).value_or(""));
    if (!CHRONOS_TRY(runs_code(*control_, oids))) return {};
    return Error(ErrorKind::db_mismatch,
                 "a type of the tables has been changed while they were brought back");
}

Result<> NewSchema::restore(const Past& past, const std::string& file, const std::string& section) {
    os::Command command;
    command.arguments = {past.programs + "/pg_restore",
                         "--dbname=" + connection_string(writer_home_),
                         "--schema=" + name_,
                         "--section=" + section,
                         "--no-owner",
                         "--no-privileges",
                         "--exit-on-error",
                         "--single-transaction",
                         "--no-password",
                         file};
    // Of libpq's variables those are left that do not lead anywhere: a password, where files lie.
    std::vector<std::string> variables = {
        "LC_ALL=C", "PGAPPNAME=" + session_name(request_),
        "PGOPTIONS=-c default_transaction_read_only=off -c lock_timeout=0 "
        "-c default_transaction_isolation=read\\ committed"};
    if (!writer_password_.empty()) variables.push_back("PGPASSWORD=" + writer_password_);
    command.environment = os::environment_with(variables);
    command.output = os::Output::captured_both;
    std::string output;
    const os::Ended ended = CHRONOS_TRY(
        os::run(command, {std::chrono::hours(24 * 7), &cancel_}, [&](std::string_view chunk) {
            constexpr std::size_t kKept = std::size_t{64} * 1024;
            if (output.size() < kKept) output += chunk;
        }));
    if (ended.success()) return {};
    return Error(ErrorKind::db_query, "pg_restore, " + section + ": " + complaint(output));
}

Result<> NewSchema::end(const std::vector<std::string>& tables, const std::vector<Need>& made) {
    writer_.reset();
    CHRONOS_TRY(ask("BEGIN"));
    if (const auto given = give_away(tables, made); !given) {
        const auto undone = ask("ROLLBACK");
        return undone ? given : undone.error();
    }
    CHRONOS_TRY(ask("COMMIT"));
    return remove_role();
}

/// The owner has what code could have exchanged before: it counts as it is now.
Result<> NewSchema::give_away_needs(const std::vector<Need>& made) {
    if (made.empty()) return {};
    for (const Need& need : made)
        CHRONOS_TRY(ask("ALTER " + need.sql_name() + " OWNER TO " + quote_name(owner_)));
    if (CHRONOS_TRY(movable_in(*control_, name_)) == made) return {};
    return Error(ErrorKind::db_invalid, "somebody has changed a type or function of schema " +
                                            quote_name(name_) + " while it was made");
}

Result<> NewSchema::give_away(const std::vector<std::string>& tables,
                              const std::vector<Need>& made) {
    const std::string schema = quote_name(name_), owner = quote_name(owner_);
    // Nobody else sees that before the end of the transaction.
    CHRONOS_TRY(ask("GRANT CREATE ON SCHEMA " + schema + " TO " + owner));
    for (const std::string& table : tables)
        CHRONOS_TRY(ask("ALTER TABLE " + schema + "." + quote_name(table) + " OWNER TO " + owner));
    const db::Rows statistics = CHRONOS_TRY(
        ask("SELECT s.stxname FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n"
            " ON n.oid = s.stxnamespace WHERE n.nspname = $1 AND s.stxrelid = ANY (SELECT oid FROM"
            " pg_catalog.pg_class WHERE relnamespace = n.oid AND relname = ANY ($2::name[]))",
            {name_, array_of(tables)}));
    for (const db::Row& row : statistics)
        CHRONOS_TRY(ask("ALTER STATISTICS " + schema + "." + quote_name(row.at(0).value_or("")) +
                        " OWNER TO " + owner));
    CHRONOS_TRY(give_away_needs(made));
    // What ALTER DEFAULT PRIVILEGES gave others, who may see rows here that policies kept from
    // them.
    const db::Rows grants = CHRONOS_TRY(ask(
        "SELECT DISTINCT pg_catalog.format('REVOKE ALL ON TABLE %I.%I FROM %s CASCADE', $1::text,"
        " c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE"
        " pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END)"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,"
        " pg_catalog.aclexplode(c.relacl) AS a"
        " WHERE n.nspname = $1::text AND a.grantee <> c.relowner",
        {name_}));
    for (const db::Row& row : grants) CHRONOS_TRY(ask(row.at(0).value_or("")));
    if (owner_ != caller_) CHRONOS_TRY(ask("REVOKE CREATE ON SCHEMA " + schema + " FROM " + owner));
    // The tables are locked now. Code that ran may have left something there that runs again.
    const db::Rows left = CHRONOS_TRY(ask(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
        " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND (c.relkind NOT IN ('r', 'p', 'i', 'I',"
        " 'S') AND NOT (c.relkind = 'c' AND $2::bool) OR EXISTS (SELECT FROM pg_catalog.pg_trigger "
        "WHERE tgrelid = c.oid AND NOT"
        " tgisinternal) OR EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_class = c.oid) OR"
        " EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polrelid = c.oid)) LIMIT 1",
        {name_, made.empty() ? "f" : "t"}));
    if (!left.empty())
        return Error(ErrorKind::db_invalid,
                     "somebody has made " + schema + "." +
                         quote_name(left.at(0).at(0).value_or("")) +
                         " something else than a table of the past meanwhile");
    return {};
}

Result<std::vector<std::string>> NewSchema::keep(const std::string& comment,
                                                 const std::vector<Grant>& grants) {
    const std::string schema = quote_name(name_);
    CHRONOS_TRY(ask("BEGIN"));
    CHRONOS_TRY(let_nobody_in());
    CHRONOS_TRY(let_in_owners());
    std::vector<std::string> failures;
    for (const Grant& one : grants) failures.push_back(CHRONOS_TRY(grant(one)));
    CHRONOS_TRY(ask("COMMENT ON SCHEMA " + schema + " IS " + sql_text(comment)));
    CHRONOS_TRY(ask("COMMIT"));
    kept_ = true;
    return failures;
}

/// Why it cannot be; "" if it could.
Result<std::string> NewSchema::grant(const Grant& grant) {
    const std::string role = grant.grantee.empty() ? "PUBLIC" : quote_name(grant.grantee);
    CHRONOS_TRY(ask("SAVEPOINT granted"));
    Result<db::Rows> done = ask(grant.sql);
    if (done && grant.had_schema)
        done = ask("GRANT USAGE ON SCHEMA " + quote_name(name_) + " TO " + role);
    if (!done) CHRONOS_TRY(ask("ROLLBACK TO SAVEPOINT granted"));
    CHRONOS_TRY(ask("RELEASE SAVEPOINT granted"));
    return done ? "" : done.error().message();
}

/// What ALTER DEFAULT PRIVILEGES gave others. Who could do something to a table while rows go into
/// it could have them run his code.
Result<> NewSchema::let_nobody_in() {
    const std::string schema = quote_name(name_);
    for (const db::Row& row :
         CHRONOS_TRY(ask("SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE"
                         " pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END"
                         " FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) AS a"
                         " WHERE n.nspname = $1 AND a.grantee <> n.nspowner",
                         {name_})))
        CHRONOS_TRY(ask("REVOKE ALL ON SCHEMA " + schema + " FROM " + row.at(0).value_or("")));
    return {};
}

/// The schema is the owner's, if they are all of one who may have a schema.
Result<> NewSchema::let_in_owners() {
    const std::string schema = quote_name(name_);
    const std::set<std::string> owners(owners_.begin(), owners_.end());
    if (owners.size() == 1) {
        const db::Rows may = CHRONOS_TRY(
            ask("SELECT pg_catalog.has_database_privilege($1::name, pg_catalog.current_database(),"
                " 'CREATE')",
                {*owners.begin()}));
        if (caller_is_superuser_ || may.at(0).at(0) == "t") {
            CHRONOS_TRY(ask("ALTER SCHEMA " + schema + " OWNER TO " + quote_name(*owners.begin())));
            return {};
        }
    }
    for (const std::string& owner : owners)
        CHRONOS_TRY(ask("GRANT USAGE ON SCHEMA " + schema + " TO " + quote_name(owner)));
    return {};
}

Result<> NewSchema::remove_role() {
    if (role_.empty()) return {};
    CHRONOS_TRY(drop_role(*control_, role_));
    role_.clear();
    return {};
}

/// The number of the schema of that name; "" if there is none.
Result<std::string> NewSchema::id_now() {
    const db::Rows rows =
        CHRONOS_TRY(ask("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1", {name_}));
    return rows.empty() ? "" : rows.at(0).at(0).value_or("");
}

/// A server that is restarted, or that has lost a process, ends all of its sessions.
Result<> NewSchema::come_back() {
    // Whatever statement failed last, it is not to be one of a transaction.
    const auto undone = ask("ROLLBACK");
    if (undone) return {};
    const Deadline deadline(std::chrono::seconds(30));
    for (;;) {
        auto again = connect_home(request_, request_.home, "", never_);
        if (again) {
            control_ = std::move(*again);
            return {};
        }
        if (deadline.passed()) return undone.error();
        CHRONOS_TRY(never_.sleep(std::chrono::milliseconds(500)));
    }
}

Result<> NewSchema::remove() {
    writer_.reset();
    CHRONOS_TRY(come_back());
    CHRONOS_TRY(end_sessions(*control_, session_name(request_)));
    // Never that of somebody else.
    if (CHRONOS_TRY(id_now()) == id_)
        CHRONOS_TRY(ask("DROP SCHEMA " + quote_name(name_) + " CASCADE"));
    return remove_role();
}

}  // namespace chronos::ops::table
