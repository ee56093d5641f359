#include "ops/drill/checks.h"

#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "ops/drill/stopwatch.h"

namespace chronos::ops::drill {
namespace {

using std::chrono::milliseconds;

/// Who asks the user's questions: can read the tables of users and change nothing. So whoever may
/// ask does not thereby run programs as the operating system's user, nor read what the catalogs
/// keep from others: passwords of roles and subscriptions, options of user mappings.
constexpr const char* kReader = "chronos_drill";

// Whose rights views have, in the copy: those of a reader. So no view shows more than tables of
// users do, whoever made it and whatever he may read. Nobody can log in as it, or become it.
constexpr const char* kViewOwner = "chronos_drill_views";

// In each database that is asked. Not pg_read_all_data, which reads the catalogs too. Foreign
// tables would ask another server, also as parts of a table. Nothing runs with the rights of
// somebody else: a function could be reached by an aggregate, an operator or a type, where nobody
// asks who may execute it. One in an untrusted language may have been kept from people only by its
// schema. The catalogs are written to because ALTER would lock each object until the end, and there
// may be more of them than locks.
constexpr const char* kOpenDatabase = R"(DO $$
DECLARE
	item record;
BEGIN
	FOR item IN SELECT nspname AS name FROM pg_catalog.pg_namespace
			WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
		EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %I TO chronos_drill, chronos_drill_views', item.name);
	END LOOP;
	FOR item IN SELECT n.nspname AS schema, c.relname AS name
			FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
				AND c.relkind IN ('r', 'p', 'm', 'S', 'v') LOOP
		EXECUTE pg_catalog.format('GRANT SELECT ON %I.%I TO chronos_drill, chronos_drill_views', item.schema, item.name);
	END LOOP;
	UPDATE pg_catalog.pg_class AS c SET relowner = o.oid FROM pg_catalog.pg_namespace n, pg_catalog.pg_roles o
		WHERE c.relkind = 'v' AND n.oid = c.relnamespace AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
			AND o.rolname = 'chronos_drill_views';
	UPDATE pg_catalog.pg_proc SET prosecdef = false WHERE prosecdef;
	UPDATE pg_catalog.pg_foreign_data_wrapper SET fdwhandler = 0 WHERE fdwhandler <> 0;
	UPDATE pg_catalog.pg_proc AS p SET proacl = ARRAY[pg_catalog.makeaclitem(p.proowner, p.proowner, 'EXECUTE', false)]
		FROM pg_catalog.pg_language l
		WHERE l.oid = p.prolang AND NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c');
END
$$)";

std::string text_of(const db::Rows& rows, std::size_t row, std::size_t column) {
    return row < rows.size() && column < rows[row].size() ? rows[row][column].value_or("") : "";
}

std::uint64_t number_of(const db::Rows& rows, std::size_t row, std::size_t column) {
    return parse_uint(text_of(rows, row, column)).value_or(0);
}

bool is_fatal(const Error& error) {
    return error.kind() == ErrorKind::cancelled || error.kind() == ErrorKind::db_connect;
}

struct DatabaseName {
    std::string bytes;  ///< what one connects to: nobody converts that
    std::string text;   ///< for people
};

/// Of those that one can connect to: an interrupted DROP DATABASE leaves one that nobody can.
Result<std::vector<DatabaseName>> database_names(DrillServer& server, const std::string& database,
                                                 const Cancellation& cancel) {
    constexpr std::string_view kNames =
        "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND datconnlimit <> -2"
        " ORDER BY oid";
    const auto connection = CHRONOS_TRY(server.connect(database, cancel));
    // A name that is nothing in the encoding of this database has no other text than its bytes.
    const auto texts = connection->query(kNames);
    CHRONOS_TRY(connection->query("SET client_encoding = 'SQL_ASCII'"));
    const db::Rows bytes = CHRONOS_TRY(connection->query(kNames));
    std::vector<DatabaseName> names;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        names.push_back({text_of(bytes, i, 0), text_of(texts ? *texts : bytes, i, 0)});
    std::ranges::sort(names, {}, &DatabaseName::text);
    return names;
}

Result<> read_recovery(db::Connection& connection, DrillReport& report) {
    const db::Rows rows = CHRONOS_TRY(connection.query(
        "SELECT pg_catalog.version(), pg_catalog.pg_last_xact_replay_timestamp(),"
        " pg_catalog.floor(extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()))::bigint,"
        " pg_catalog.pg_last_wal_replay_lsn()"));
    report.server_version = text_of(rows, 0, 0);
    report.last_commit_text = text_of(rows, 0, 1);
    if (!report.last_commit_text.empty())
        report.last_commit = static_cast<UnixTime>(number_of(rows, 0, 2));
    report.last_lsn = text_of(rows, 0, 3);
    // Without a transaction in the WAL the newest one is in the backup itself.
    const UnixTime newest = report.last_commit.value_or(report.backup.backup_stop);
    if (newest != 0)
        report.data_age_s =
            std::max<std::int64_t>(0, report.backup.target_time.value_or(report.started) - newest);
    return {};
}

Result<> read_database(DrillServer& server, const DatabaseName& name, const Cancellation& cancel,
                       DrillReport& report) {
    const auto connection = CHRONOS_TRY(server.connect(name.bytes, cancel));
    const db::Rows rows = CHRONOS_TRY(connection->query(
        "SELECT count(*), pg_catalog.pg_database_size(pg_catalog.current_database())"
        " FROM pg_catalog.pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"));
    report.databases.push_back({name.text, number_of(rows, 0, 0), number_of(rows, 0, 1)});
    return {};
}

/// An error without its text, which may quote data: its SQLSTATE, where it has one.
std::string error_class(const std::string& message) {
    constexpr std::string_view kState = "(SQLSTATE ";
    const std::size_t at = message.rfind(kState);
    if (at == std::string::npos) return "an error";
    return "an error, SQLSTATE " + message.substr(at + kState.size(), 5);
}

CheckOutcome judge(CheckOutcome outcome, const Result<db::Rows>& rows) {
    if (!rows) {
        outcome.actual = rows.error().message();
        outcome.verdict = error_class(outcome.actual);
    } else if (rows->size() != 1 || rows->front().size() != 1) {
        outcome.actual = std::to_string(rows->size()) + " rows, expected is one value";
        outcome.verdict = "not one value";
    } else {
        const auto& value = rows->front().front();
        outcome.actual = value.value_or("NULL");
        outcome.passed = value && *value == outcome.expected;
        outcome.verdict = outcome.passed ? "as expected" : "another value";
    }
    return outcome;
}

class Checker {
public:
    Checker(const DrillRequest& request, DrillServer& server, const Scratch& scratch,
            const ProgressReceiver& progress, const Cancellation& cancel, DrillReport& report)
        : request_(request),
          server_(server),
          scratch_(scratch),
          progress_(progress),
          cancel_(cancel),
          report_(report) {
        total_ = request.assertions.size() + request.commands.size();
    }

    Result<> run() {
        report_progress();
        if (!request_.assertions.empty()) CHRONOS_TRY(run_assertions());
        if (request_.amcheck) CHRONOS_TRY(run_amcheck());
        for (const std::string& command : request_.commands) CHRONOS_TRY(run_command(command));
        return {};
    }

private:
    void report_progress() {
        if (progress_)
            progress_({"check", 0, 0, std::max<std::uint64_t>(total_, report_.checks.size()),
                       report_.checks.size()});
    }

    void add(CheckOutcome outcome) {
        if (!outcome.passed)
            log_warn(outcome.kind + " failed: " + printable(outcome.text, 1024) +
                     (outcome.expected.empty() ? "" : ", expected " + printable(outcome.expected)) +
                     ": " +
                     printable(outcome.verdict.empty() ? outcome.actual : outcome.verdict, 1024));
        report_.checks.push_back(std::move(outcome));
        report_progress();
    }

    Result<> make_reader() {
        const auto connection = CHRONOS_TRY(server_.connect(request_.database, cancel_));
        for (const char* name : {kReader, kViewOwner}) {
            const db::Rows known = CHRONOS_TRY(
                connection->query("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", {name}));
            // Whatever somebody gave a role of that name, this one must not have.
            if (!known.empty())
                return Error(ErrorKind::db_invalid,
                             std::string("the restored cluster has a role '") + name +
                                 "', which a drill makes for its questions");
            CHRONOS_TRY(connection->query(std::string("CREATE ROLE ") + name + " BYPASSRLS" +
                                          (name == kReader ? " LOGIN" : "")));
        }
        // Goes before what ALTER DATABASE says, which may name libraries of the original server. An
        // empty list cannot be written; this session has one.
        CHRONOS_TRY(connection->query(std::string("ALTER ROLE ") + kReader +
                                      " SET session_preload_libraries FROM CURRENT"));
        return {};
    }

    /// Once for each database: what the reader may read there.
    Result<> open_database(const std::string& name) {
        if (!opened_.insert(name).second) return {};
        const auto connection = CHRONOS_TRY(server_.connect(name, cancel_));
        CHRONOS_TRY(connection->query(kOpenDatabase));
        return {};
    }

    Result<> run_assertions() {
        CHRONOS_TRY(make_reader());
        const auto names = CHRONOS_TRY(database_names(server_, request_.database, cancel_));
        for (const Assertion& assertion : request_.assertions) {
            CHRONOS_TRY(cancel_.check());
            CheckOutcome outcome;
            outcome.kind = "assert";
            outcome.text = assertion.sql;
            outcome.expected = assertion.expected;
            const Stopwatch watch;
            const Result<db::Rows> rows = ask(assertion, names);
            if (!rows && rows.error().kind() == ErrorKind::cancelled) return rows.error();
            outcome = judge(std::move(outcome), rows);
            outcome.seconds = watch.seconds();
            add(std::move(outcome));
        }
        return {};
    }

    /// Each in a session of its own: what one sets is not there for the next.
    Result<db::Rows> ask(const Assertion& assertion, const std::vector<DatabaseName>& names) {
        const auto known = std::ranges::find(names, assertion.database, &DatabaseName::text);
        const std::string& database = known == names.end() ? assertion.database : known->bytes;
        CHRONOS_TRY(open_database(database));
        const auto connection = CHRONOS_TRY(server_.connect_as(kReader, database, cancel_));
        return connection->query(assertion.sql, {});
    }

    Result<> run_amcheck() {
        for (const DatabaseName& name :
             CHRONOS_TRY(database_names(server_, request_.database, cancel_)))
            CHRONOS_TRY(amcheck_database(name));
        return {};
    }

    Result<> amcheck_database(const DatabaseName& name) {
        const auto connection = CHRONOS_TRY(server_.connect(name.bytes, cancel_));
        CheckOutcome outcome;
        outcome.kind = "amcheck";
        outcome.text = "database " + name.text;
        const Stopwatch watch;
        const Result<std::string> schema = amcheck_schema(*connection);
        if (!schema) {
            if (is_fatal(schema.error())) return schema.error();
            outcome.actual = schema.error().message();
            add(std::move(outcome));
            return {};
        }
        std::uint64_t objects = 0;
        std::vector<std::string> damaged;
        CHRONOS_TRY(check_indexes(*connection, *schema, objects, damaged));
        CHRONOS_TRY(check_tables(*connection, *schema, objects, damaged));
        outcome.seconds = watch.seconds();
        outcome.passed = damaged.empty();
        outcome.actual = std::to_string(objects) + " tables and indexes, " +
                         std::to_string(damaged.size()) + " damaged";
        constexpr std::size_t kNamesMax = 16;
        if (damaged.size() > kNamesMax) damaged.resize(kNamesMax);
        if (!damaged.empty()) outcome.actual += ": " + join(damaged, "; ");
        add(std::move(outcome));
        return {};
    }

    /// Where its functions are, quoted; the extension is made where the cluster has none.
    static Result<std::string> amcheck_schema(db::Connection& connection) {
        const char* const where =
            "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e"
            " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
            " WHERE e.extname = 'amcheck'";
        db::Rows rows = CHRONOS_TRY(connection.query(where));
        if (rows.empty()) {
            CHRONOS_TRY(connection.query("CREATE EXTENSION amcheck"));
            rows = CHRONOS_TRY(connection.query(where));
        }
        return text_of(rows, 0, 0);
    }

    Result<> check_indexes(db::Connection& connection, const std::string& schema,
                           std::uint64_t& objects, std::vector<std::string>& damaged) {
        const db::Rows indexes = CHRONOS_TRY(connection.query(
            "SELECT c.oid, c.oid::regclass FROM pg_catalog.pg_index i"
            " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_catalog.pg_am a ON a.oid = c.relam"
            " WHERE a.amname = 'btree' AND i.indisready AND i.indisvalid AND c.relkind = 'i'"
            " AND c.relpersistence = 'p' ORDER BY 1"));
        for (std::size_t i = 0; i < indexes.size(); ++i) {
            ++objects;
            const auto checked = connection.query(
                "SELECT " + schema +
                    ".bt_index_check($1::pg_catalog.oid::pg_catalog.regclass, true)",
                {text_of(indexes, i, 0)});
            if (checked) continue;
            if (is_fatal(checked.error())) return checked.error();
            damaged.push_back(text_of(indexes, i, 1) + ": " + checked.error().message());
        }
        return {};
    }

    Result<> check_tables(db::Connection& connection, const std::string& schema,
                          std::uint64_t& objects, std::vector<std::string>& damaged) {
        const db::Rows known = CHRONOS_TRY(
            connection.query("SELECT 1 FROM pg_catalog.pg_proc WHERE proname = 'verify_heapam'"
                             " AND pronamespace = $1::pg_catalog.regnamespace",
                             {schema}));
        if (known.empty()) return {};  // before version 14
        const db::Rows tables =
            CHRONOS_TRY(connection.query("SELECT c.oid, c.oid::regclass FROM pg_catalog.pg_class c"
                                         " JOIN pg_catalog.pg_am a ON a.oid = c.relam"
                                         " WHERE a.amname = 'heap' AND c.relkind IN ('r', 'm', 't')"
                                         " AND c.relpersistence = 'p' ORDER BY 1"));
        for (std::size_t i = 0; i < tables.size(); ++i) {
            ++objects;
            const auto found = connection.query(
                "SELECT msg FROM " + schema +
                    ".verify_heapam($1::pg_catalog.oid::"
                    "pg_catalog.regclass, on_error_stop => true, check_toast => true) LIMIT 1",
                {text_of(tables, i, 0)});
            if (!found && is_fatal(found.error())) return found.error();
            if (!found || !found->empty())
                damaged.push_back(text_of(tables, i, 1) + ": " +
                                  (found ? text_of(*found, 0, 0) : found.error().message()));
        }
        return {};
    }

    Result<> run_command(const std::string& command) {
        CheckOutcome outcome;
        outcome.kind = "command";
        outcome.text = command;
        outcome.expected = "exit status 0";
        const std::string file =
            scratch_.path + "/command-" + std::to_string(report_.checks.size()) + ".log";
        os::Command shell = os::shell_command(command);
        shell.environment = plain_environment();
        shell.output = os::Output::file;
        shell.file = file;
        shell.environment.push_back("PGHOST=" + scratch_.socket());
        shell.environment.push_back("PGPORT=" + std::to_string(request_.port));
        shell.environment.push_back("PGUSER=" + server_.superuser());
        shell.environment.push_back("PGDATABASE=" + request_.database);
        const Stopwatch watch;
        const os::Ended ended = CHRONOS_TRY(
            os::run(shell, {request_.query_timeout, &cancel_}, [](std::string_view) {}));
        outcome.seconds = watch.seconds();
        outcome.passed = ended.success();
        outcome.actual = ended.how == os::Ended::How::by_itself ? os::describe_status(ended.status)
                                                                : "no end within the time limit";
        outcome.verdict = outcome.actual;
        if (!outcome.passed) outcome.actual += last_line(file);
        add(std::move(outcome));
        return {};
    }

    static std::string last_line(const std::string& file) {
        std::ifstream stream(file);
        std::string last;
        for (std::string line; std::getline(stream, line);)
            if (!trim(line).empty()) last = trim(line);
        return last.empty() ? "" : ": " + printable(last, 512);
    }

    const DrillRequest& request_;
    DrillServer& server_;
    const Scratch& scratch_;
    const ProgressReceiver& progress_;
    const Cancellation& cancel_;
    DrillReport& report_;
    std::uint64_t total_ = 0;
    std::set<std::string> opened_;
};

}  // namespace

Result<> read_facts(const DrillRequest& request, DrillServer& server, const Cancellation& cancel,
                    DrillReport& report) {
    const auto connection = CHRONOS_TRY(server.connect(request.database, cancel));
    CHRONOS_TRY(read_recovery(*connection, report));
    for (const DatabaseName& name : CHRONOS_TRY(database_names(server, request.database, cancel)))
        if (name.bytes != "template1") CHRONOS_TRY(read_database(server, name, cancel, report));
    return {};
}

Result<> run_checks(const DrillRequest& request, DrillServer& server, const Scratch& scratch,
                    const ProgressReceiver& progress, const Cancellation& cancel,
                    DrillReport& report) {
    return Checker(request, server, scratch, progress, cancel, report).run();
}

}  // namespace chronos::ops::drill
