#include "chronos/db/connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <array>
#include <cerrno>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/db/conninfo.h"
#include "chronos/db/replication.h"

namespace chronos::db {
namespace {

constexpr int kPollMs = 100;  // how late a request to stop is seen while a query runs

struct FreeConnection {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};
struct FreeResult {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
};
struct FreeCancel {
    void operator()(PGcancel* cancel) const noexcept { PQfreeCancel(cancel); }
};
using ResultHandle = std::unique_ptr<PGresult, FreeResult>;

// libpq ends its messages with a line feed.
std::string trimmed(const char* message) {
    return std::string(trim(message == nullptr ? std::string_view() : std::string_view(message)));
}

struct FreeMemory {
    void operator()(char* memory) const noexcept { PQfreemem(memory); }
};
struct CopyPiece {
    std::unique_ptr<char, FreeMemory> memory;
    std::size_t size = 0;
    std::string_view text() const { return {memory.get(), size}; }
};

void log_notice(void*, const char* message) {
    log(LogLevel::debug, "server: " + trimmed(message));
}

Rows rows_of(const PGresult* result) {
    Rows rows(static_cast<std::size_t>(PQntuples(result)));
    const int columns = PQnfields(result);
    for (std::size_t at = 0; at < rows.size(); ++at) {
        const int row = static_cast<int>(at);
        rows[at].reserve(static_cast<std::size_t>(columns));
        for (int column = 0; column < columns; ++column) {
            if (PQgetisnull(result, row, column) != 0)
                rows[at].emplace_back(std::nullopt);
            else
                rows[at].emplace_back(
                    std::string(PQgetvalue(result, row, column),
                                static_cast<std::size_t>(PQgetlength(result, row, column))));
        }
    }
    return rows;
}

class PqConnection final : public Connection {
public:
    /// What a session takes statements as. The commands of replication have no parameters.
    enum class Kind { sql, replication };
    PqConnection(PGconn* connection, std::chrono::milliseconds query_timeout,
                 const Cancellation& cancel, Kind kind = Kind::sql)
        : connection_(connection), timeout_(query_timeout), cancel_(cancel), kind_(kind) {}

    Result<Rows> query(std::string_view sql, const std::vector<std::string>& parameters) override;

    /// A COPY statement up to where its data begins.
    Result<> begin_copy(std::string_view sql, ExecStatusType direction);
    /// What has come; an empty piece at the end, after which the statement has succeeded.
    Result<CopyPiece> next_piece();
    Result<> put(std::string_view piece);
    /// Returns the number of rows.
    Result<std::uint64_t> end_copy();
    /// Ends what runs, and the session with it.
    void abandon();
    PGconn* handle() { return connection_.get(); }

private:
    Result<> wait_for(short events);
    Result<> flush();
    Result<> check_wait(const Deadline& deadline);
    Result<> send(std::string_view sql, const std::vector<std::string>& parameters);
    Result<> wait_for_result();
    Result<> wait_for_input() { return wait_for(POLLIN); }
    /// Takes every result of the statement: libpq accepts the next one only then.
    ResultHandle last_result();
    void interrupt();
    Error failure(const PGresult* result);
    Error session_error() {
        return {ErrorKind::db_connect,
                "lost the connection to the server: " + trimmed(PQerrorMessage(connection_.get()))};
    }

    std::unique_ptr<PGconn, FreeConnection> connection_;
    std::chrono::milliseconds timeout_;
    const Cancellation& cancel_;
    const Kind kind_;
};

Result<Rows> PqConnection::query(std::string_view sql, const std::vector<std::string>& parameters) {
    CHRONOS_TRY(cancel_.check());
    CHRONOS_TRY(send(sql, parameters));
    if (Result<> waited = wait_for_result(); !waited) {
        interrupt();
        return std::move(waited).error();
    }
    const ResultHandle result = last_result();
    const ExecStatusType status = PQresultStatus(result.get());
    if (kind_ == Kind::replication && status == PGRES_COPY_BOTH) return Rows{};
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) return failure(result.get());
    return rows_of(result.get());
}

Result<> PqConnection::send(std::string_view sql, const std::vector<std::string>& parameters) {
    if (kind_ == Kind::replication) {
        if (PQsendQuery(connection_.get(), std::string(sql).c_str()) == 0) return session_error();
        return {};
    }
    std::vector<const char*> values;
    values.reserve(parameters.size());
    for (const std::string& parameter : parameters) values.push_back(parameter.c_str());
    const int sent =
        PQsendQueryParams(connection_.get(), std::string(sql).c_str(),
                          static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr,
                          /*resultFormat=*/0);
    if (sent == 0) return session_error();
    return {};
}

Result<> PqConnection::wait_for_result() {
    const Deadline deadline(timeout_);
    while (PQisBusy(connection_.get()) != 0) {
        CHRONOS_TRY(cancel_.check());
        if (deadline.passed())
            return Error(ErrorKind::db_query, "the server did not answer a query within " +
                                                  std::to_string(timeout_.count()) + "ms");
        CHRONOS_TRY(wait_for_input());
    }
    return {};
}

Result<> PqConnection::wait_for(short events) {
    pollfd descriptor{PQsocket(connection_.get()), events, 0};
    Activity::note();
    const int ready = ::poll(&descriptor, 1, kPollMs);
    if (ready < 0 && errno != EINTR)
        return system_error(ErrorKind::kernel, "wait for the server", errno);
    if (PQconsumeInput(connection_.get()) == 0) return session_error();
    return {};
}

ResultHandle PqConnection::last_result() {
    ResultHandle last;
    while (PGresult* next = PQgetResult(connection_.get())) {
        // What a stream would bring is asked for in another way, again and again.
        if (PQresultStatus(next) == PGRES_COPY_BOTH) return ResultHandle(next);
        // The first error is the answer; what follows it only says that the session ended.
        if (last && PQresultStatus(last.get()) == PGRES_FATAL_ERROR)
            PQclear(next);
        else
            last.reset(next);
    }
    return last;
}

void PqConnection::interrupt() {
    const std::unique_ptr<PGcancel, FreeCancel> cancel(PQgetCancel(connection_.get()));
    std::array<char, 256> message{};
    if (cancel && PQcancel(cancel.get(), message.data(), message.size()) != 0) last_result();
}

Result<> PqConnection::begin_copy(std::string_view sql, ExecStatusType direction) {
    CHRONOS_TRY(cancel_.check());
    if (PQsetnonblocking(connection_.get(), 1) != 0) return session_error();
    CHRONOS_TRY(send(sql, {}));
    CHRONOS_TRY(flush());
    CHRONOS_TRY(wait_for_result());
    const ResultHandle result(PQgetResult(connection_.get()));
    if (PQresultStatus(result.get()) == direction) return {};
    return failure(result.get());
}

Result<CopyPiece> PqConnection::next_piece() {
    for (const Deadline deadline(timeout_);;) {
        char* memory = nullptr;
        const int size = PQgetCopyData(connection_.get(), &memory, /*async=*/1);
        CopyPiece piece{std::unique_ptr<char, FreeMemory>(memory), 0};
        if (size > 0) piece.size = static_cast<std::size_t>(size);
        if (size > 0 || size == -1) return piece;
        if (size < 0) return session_error();
        CHRONOS_TRY(check_wait(deadline));
        CHRONOS_TRY(wait_for_input());
    }
}

Result<> PqConnection::put(std::string_view piece) {
    for (const Deadline deadline(timeout_);;) {
        const int queued =
            PQputCopyData(connection_.get(), piece.data(), static_cast<int>(piece.size()));
        if (queued > 0) break;
        if (queued < 0) return session_error();
        CHRONOS_TRY(check_wait(deadline));
        CHRONOS_TRY(wait_for(POLLIN | POLLOUT));
    }
    // What cannot be sent stays with libpq, which grows by it without end.
    return flush();
}

Result<> PqConnection::flush() {
    for (const Deadline deadline(timeout_);;) {
        const int left = PQflush(connection_.get());
        if (left == 0) return {};
        if (left < 0) return session_error();
        CHRONOS_TRY(check_wait(deadline));
        CHRONOS_TRY(wait_for(POLLIN | POLLOUT));
    }
}

Result<> PqConnection::check_wait(const Deadline& deadline) {
    CHRONOS_TRY(cancel_.check());
    if (!deadline.passed()) return {};
    return Error(ErrorKind::db_query,
                 "nothing was copied within " + std::to_string(timeout_.count()) + "ms");
}

Result<std::uint64_t> PqConnection::end_copy() {
    // Of a COPY ... TO STDOUT it has ended already.
    PQputCopyEnd(connection_.get(), nullptr);
    CHRONOS_TRY(flush());
    CHRONOS_TRY(wait_for_result());
    const ResultHandle result = last_result();
    if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) return failure(result.get());
    PQsetnonblocking(connection_.get(), 0);
    return parse_uint(PQcmdTuples(result.get())).value_or(0);
}

void PqConnection::abandon() {
    const std::unique_ptr<PGcancel, FreeCancel> cancel(PQgetCancel(connection_.get()));
    std::array<char, 256> message{};
    if (cancel) PQcancel(cancel.get(), message.data(), message.size());
    connection_.reset();
}

Error PqConnection::failure(const PGresult* result) {
    if (PQstatus(connection_.get()) == CONNECTION_BAD) return session_error();
    const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char* message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    std::string text = message != nullptr ? message : trimmed(PQresultErrorMessage(result));
    if (state != nullptr) text += std::string(" (SQLSTATE ") + state + ")";
    Error error(ErrorKind::db_query, std::move(text));
    // Whatever was refused: who meets one of them needs all of them.
    if (state != nullptr && std::string_view(state) == "42501")
        return std::move(error).with_hint(
            "The role needs: GRANT pg_monitor, and EXECUTE ON FUNCTION pg_backup_start(text, "
            "boolean), pg_backup_stop(boolean), pg_create_restore_point(text), pg_switch_wal() in "
            "the database that it connects to, and what was taken from PUBLIC. 'chronos check' "
            "names what is missing.");
    const char* hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    return hint == nullptr ? error : std::move(error).with_hint(hint);
}

// What an administrator sets for sessions - of all, of a database, of a role - must not reach into
// ours: a backup session waits for checkpoints and idles while files are copied, and reads what the
// server prints. These two are the only places that say what our sessions need.

// What can keep the first statement already from being run: part of the start of the session. Only
// what every supported version knows, and everybody may set.
constexpr std::string_view kStartOptions =
    "-c default_transaction_isolation=read\\ committed -c default_transaction_read_only=off"
    " -c default_transaction_deferrable=off -c statement_timeout=0 -c lock_timeout=0"
    " -c synchronous_commit=local -c standard_conforming_strings=on";
// From version 14 on; a drill starts older servers too.
constexpr std::string_view kStartOptionsSince14 =
    " -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0";
// From version 17 on; a login trigger runs in a transaction.
constexpr std::string_view kStartOptionsSince17 = " -c transaction_timeout=0";

// The rest. Names unknown to a version select no row.
constexpr std::string_view kPrepareSession =
    "SELECT pg_catalog.set_config(s.name, s.value, false) FROM (VALUES"
    " ('search_path', 'pg_catalog'), ('datestyle', 'ISO, YMD'), ('intervalstyle', 'postgres'),"
    " ('timezone', 'UTC'), ('bytea_output', 'hex'), ('extra_float_digits', '1'),"
    " ('quote_all_identifiers', 'off'), ('transform_null_equals', 'off'), ('array_nulls', 'on'),"
    " ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0'),"
    " ('row_security', 'off'), ('work_mem', '16MB'), ('jit', 'off'), "
    "('max_parallel_workers_per_gather', '0'), ('restrict_nonsystem_relation_kind', ''),"
    " ('exit_on_error', 'off'),"
    " ('transaction_timeout', '0')) AS s(name, value)"
    " WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL";

/// How long a session may take to begin, for instance in a trigger on its login.
constexpr std::chrono::seconds kConnectTimeout{60};

/// A database without an encoding holds bytes. Asked for UTF-8 its server would refuse every answer
/// with a name that is none.
Result<> take_bytes_of_no_encoding(PGconn* handle) {
    constexpr const char* kNone = "SQL_ASCII";
    const char* encoding = PQparameterStatus(handle, "server_encoding");
    if (encoding == nullptr || std::string_view(encoding) != kNone) return {};
    if (PQsetClientEncoding(handle, kNone) == 0) return {};
    return Error(ErrorKind::db_query,
                 "set client_encoding to SQL_ASCII: " + trimmed(PQerrorMessage(handle)));
}

PGconn* begin_session(const ConnectOptions& options, const std::string& session) {
    std::vector<const char*> names;
    std::vector<const char*> values;
    const auto add = [&](const char* name, const char* value) {
        if (*value == '\0') return;
        names.push_back(name);
        values.push_back(value);
    };
    const std::string port = options.port == 0 ? "" : std::to_string(options.port);
    add("dbname", options.database.c_str());
    add("host", options.host.c_str());
    add("port", port.c_str());
    add("user", options.user.c_str());
    add("password", options.password.c_str());
    add("options", session.c_str());
    const std::string limit = std::to_string(kConnectTimeout.count());
    add("connect_timeout", limit.c_str());
    add("client_encoding", "UTF8");
    for (const auto& [name, value] : options.parameters) add(name.c_str(), value.c_str());
    add("application_name", options.name.c_str());
    add("fallback_application_name", "chronos");
    names.push_back(nullptr);
    values.push_back(nullptr);

    return PQconnectdbParams(names.data(), values.data(), /*expand_dbname=*/0);
}

/// Of a server that told its version; 0 if there is none, or if it refused us before.
std::uint64_t major_version(PGconn* handle) {
    const char* version = PQparameterStatus(handle, "server_version");
    const std::string_view text = version == nullptr ? "" : version;
    return parse_uint(text.substr(0, text.find_first_not_of("0123456789"))).value_or(0);
}

/// What to do where no connection came about for the reason `why`.
std::string hint_for(PGconn* handle, const std::string& why) {
    const auto says = [&](std::string_view text) { return why.find(text) != std::string::npos; };
    if (says("FATAL:"))
        return "The server answered, and refused: pg_hba.conf says who may connect, pg1-user and "
               "pg1-database as whom and where to. docs/sql-api.md has what the role needs.";
    if (PQconnectionNeedsPassword(handle) != 0)
        return "The server answered, and wants a password: ~/.pgpass of the user who runs this may "
               "have it, or pg_hba.conf let pg1-user in without one (peer).";
    // What libpq itself does not put up with in an answer.
    for (const std::string_view mark :
         {"authentication", "channel binding", "SCRAM", "SASL", "SSL", "GSS"})
        if (says(mark))
            return "The server answered, and libpq of this machine does not go on: pg_hba.conf "
                   "says how a client is asked who it is, the environment (PGSSLMODE, "
                   "PGCHANNELBINDING, PGREQUIREAUTH, ...) what it insists on.";
    return "Is the server running, and do the pg1-* options name its socket?";
}

/// With every option that the server knows, whose version is not known before: it tells it to whom
/// it lets in, and what it does not know it names.
PGconn* begin_session_of_any_version(const ConnectOptions& options) {
    const std::string always(kStartOptions);
    // What the caller asks for comes last, and so holds.
    const std::string own = " " + options.options;
    const std::string since_14 = always + std::string(kStartOptionsSince14);
    PGconn* handle = begin_session(options, since_14 + own);
    if (handle == nullptr || PQstatus(handle) == CONNECTION_OK) return handle;
    std::string next;
    if (trimmed(PQerrorMessage(handle)).find("idle_session_timeout") != std::string::npos)
        next = always + own;
    else if (major_version(handle) >= 17)
        next = since_14 + std::string(kStartOptionsSince17) + own;
    if (next.empty()) return handle;
    PQfinish(handle);
    return begin_session(options, next);
}

}  // namespace

Result<std::unique_ptr<Connection>> connect(const ConnectOptions& options,
                                            const Cancellation& cancel) {
    PGconn* handle = begin_session_of_any_version(options);
    if (handle == nullptr) return Error(ErrorKind::memory, "out of memory");
    auto connection = std::make_unique<PqConnection>(handle, options.query_timeout, cancel);
    if (PQstatus(handle) != CONNECTION_OK) {
        const std::string why = trimmed(PQerrorMessage(handle));
        return Error(ErrorKind::db_connect, "unable to connect to the server: " + why)
            .with_hint(hint_for(handle, why));
    }
    PQsetNoticeProcessor(handle, log_notice, nullptr);
    CHRONOS_TRY(take_bytes_of_no_encoding(handle));
    CHRONOS_TRY_DOING(connection->query(kPrepareSession, {}), "prepare the session");
    return connection;
}

namespace {

/// What to do where a server does not let a standby in for the reason `why`.
std::string replication_hint(PGconn* handle, const std::string& why) {
    const auto says = [&](std::string_view text) { return why.find(text) != std::string::npos; };
    if (says("no pg_hba.conf entry") || says("pg_hba.conf rejects"))
        return "pg_hba.conf of that server has to let replication in: 'host replication USER "
               "ADDRESS scram-sha-256', and pg_reload_conf() behind it.";
    if (says("to start walsender") || says("to start WAL sender"))
        return "ALTER ROLE ... REPLICATION gives the role what streaming takes.";
    if (says("max_wal_senders"))
        return "All connections for standbys are taken: raise max_wal_senders of that server.";
    if (PQconnectionNeedsPassword(handle) != 0 || says("password authentication failed"))
        return "The password comes from a file, mode 0600: passfile=FILE in the connection string, "
               "or ~/.pgpass of the user who runs the server. Its line for this is "
               "HOST:PORT:replication:USER:PASSWORD. Variables of this environment, which the "
               "server will not have, do not count.";
    if (says("starting up") || says("shutting down") || says("not yet accepting"))
        return "Try again when that server answers.";
    return "It has to be a running server that this machine reaches, as the standby will.";
}

}  // namespace

Result<std::unique_ptr<Connection>> connect_for_replication(const ConnectionParameters& parameters,
                                                            const Cancellation& cancel) {
    // What the server's own receiver of WAL makes of it.
    std::map<std::string, std::string> all = parameters;
    all["dbname"] = "replication";
    all["replication"] = "true";
    all.emplace("fallback_application_name", "chronos");
    all.emplace("connect_timeout", "20");
    std::vector<const char*> names;
    std::vector<const char*> values;
    for (const auto& [name, value] : all) {
        names.push_back(name.c_str());
        values.push_back(value.c_str());
    }
    names.push_back(nullptr);
    values.push_back(nullptr);
    PGconn* handle = PQconnectdbParams(names.data(), values.data(), /*expand_dbname=*/0);
    if (handle == nullptr) return Error(ErrorKind::memory, "out of memory");
    constexpr std::chrono::seconds kAnswerTimeout{60};
    auto connection = std::make_unique<PqConnection>(handle, kAnswerTimeout, cancel,
                                                     PqConnection::Kind::replication);
    if (PQstatus(handle) != CONNECTION_OK) {
        const std::string why = trimmed(PQerrorMessage(handle));
        return Error(ErrorKind::db_connect,
                     "unable to connect as a standby to " + conninfo_place(parameters) + ": " + why)
            .with_hint(replication_hint(handle, why));
    }
    PQsetNoticeProcessor(handle, log_notice, nullptr);
    return connection;
}

namespace {

Result<PqConnection*> own(Connection& connection) {
    if (auto* own = dynamic_cast<PqConnection*>(&connection)) return own;
    return Error(ErrorKind::internal, "not a session of libpq");
}

Result<CopiedRows> copy_between(PqConnection& from, std::string_view out, PqConnection& to,
                                std::string_view in,
                                const std::function<void(std::uint64_t bytes)>& moved) {
    CHRONOS_TRY(from.begin_copy(out, PGRES_COPY_OUT));
    CHRONOS_TRY(to.begin_copy(in, PGRES_COPY_IN));
    CopiedRows copied;
    for (;;) {
        const CopyPiece piece = CHRONOS_TRY(from.next_piece());
        if (piece.size == 0) break;
        CHRONOS_TRY(to.put(piece.text()));
        copied.bytes += piece.size;
        moved(piece.size);
    }
    // First whether all was read, then whether all was taken.
    const std::uint64_t read = CHRONOS_TRY(from.end_copy());
    copied.rows = CHRONOS_TRY(to.end_copy());
    if (copied.rows != read)
        return Error(ErrorKind::db_query, "of " + std::to_string(read) + " rows " +
                                              std::to_string(copied.rows) + " were taken");
    return copied;
}

}  // namespace

Result<CopiedRows> copy_rows(Connection& from, std::string_view out, Connection& to,
                             std::string_view in,
                             const std::function<void(std::uint64_t bytes)>& moved) {
    PqConnection* const source = CHRONOS_TRY(own(from));
    PqConnection* const target = CHRONOS_TRY(own(to));
    auto copied = copy_between(*source, out, *target, in, moved);
    if (!copied) {
        source->abandon();
        target->abandon();
    }
    return copied;
}

Result<std::string> password_verifier(Connection& connection, const std::string& user,
                                      const std::string& password) {
    PGconn* const handle = CHRONOS_TRY(own(connection))->handle();
    const std::unique_ptr<char, FreeMemory> verifier(
        PQencryptPasswordConn(handle, password.c_str(), user.c_str(), "scram-sha-256"));
    if (verifier == nullptr)
        return Error(ErrorKind::db_query, "make a password: " + trimmed(PQerrorMessage(handle)));
    return std::string(verifier.get());
}

}  // namespace chronos::db
