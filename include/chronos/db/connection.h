#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/base/result.h"

namespace chronos::db {

/// A row of text values as PostgreSQL prints them; nullopt for NULL.
using Row = std::vector<std::optional<std::string>>;
using Rows = std::vector<Row>;

/// A session with a running server, in which pg_backup_start and pg_backup_stop meet. One thread
/// at a time. Two implementations: libpq, and the job worker's SPI at the other end of the control
/// channel; callers cannot tell them apart.
class Connection {
public:
    virtual ~Connection() = default;
    /// Runs one statement in a transaction of its own. `parameters` are text literals for $1...
    /// Kind db_query on an SQL error, with its SQLSTATE in the message; db_connect if the session
    /// is gone.
    virtual Result<Rows> query(std::string_view sql,
                               const std::vector<std::string>& parameters) = 0;
    Result<Rows> query(std::string_view sql) { return query(sql, {}); }
};

struct ConnectOptions {
    std::string database;
    std::string host;           ///< socket directory or host name; "" for libpq's default
    unsigned port = 0;          ///< 0 for libpq's default
    std::string user;           ///< "" for libpq's default
    std::string options;        ///< of the session: "-c name=value"; "" for libpq's default
    std::string password = "";  ///< a secret; "" for what libpq finds
    std::string name = "";      ///< of the session, as the server shows it; "" for "chronos"
    /// More of libpq's parameters, by name.
    std::map<std::string, std::string> parameters = {};
    Given<std::chrono::milliseconds> query_timeout;
};
/// Through libpq; its environment (PGHOST, PGUSER, PGPASSWORD, ...) fills what is not given. A
/// request in `cancel`, which must outlive the connection, interrupts a running query.
Result<std::unique_ptr<Connection>> connect(const ConnectOptions& options,
                                            const Cancellation& cancel);

struct CopiedRows {
    std::uint64_t rows = 0;
    std::uint64_t bytes = 0;
};
/// Runs `out`, a COPY ... TO STDOUT, in one session, and what that gives into `in`, a COPY ... FROM
/// STDIN, in another. Both are made by connect(); on failure both have ended. The time limit of a
/// query is for each wait without anything coming or going. `moved` is told of each piece.
Result<CopiedRows> copy_rows(Connection& from, std::string_view out, Connection& to,
                             std::string_view in,
                             const std::function<void(std::uint64_t bytes)>& moved);

/// What the server keeps of a password, so that no statement, and no log, has the password itself.
/// A connection of connect().
Result<std::string> password_verifier(Connection& connection, const std::string& user,
                                      const std::string& password);

}  // namespace chronos::db
