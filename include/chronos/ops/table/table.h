#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/clock.h"
#include "chronos/base/given.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"

/// Tables of the past, brought into a schema of their own in the live database. The server that has
/// the past is the caller's: this verb asks it, and writes into it what makes the tables easy to
/// take, as it is thrown away afterwards.
namespace chronos::ops::table {

struct TableName {
    std::string database;  ///< "" if it was not given
    std::string schema;
    std::string name;           ///< "*" of a whole schema
    bool whole_schema = false;  ///< all tables of it
};
/// "[database.]schema.table" as SQL has it: a part between double quotes is taken as it is, in
/// another one capital letters of ASCII become small ones; "schema.*" is a whole schema. Kind
/// param_invalid.
Result<TableName> parse_table_name(std::string_view text);
/// An identifier for SQL, always between double quotes.
std::string quote_name(std::string_view name);
/// "recovered_20261120_081500", in UTC.
std::string schema_of_time(UnixTime time);

/// Where the live database is.
struct Home {
    std::string host;   ///< "" for libpq's default
    unsigned port = 0;  ///< 0 for libpq's default
    std::string user;   ///< "" for libpq's default
    std::string database;
    /// More of libpq's parameters, by name: how it is to be talked to.
    std::map<std::string, std::string> parameters = {};
};

struct TableRequest {
    std::vector<TableName> tables;   ///< all of one database, that of `home`
    std::string into;                ///< the schema; "": schema_of_time() of what is shown
    std::string where;               ///< condition for rows; "" for all
    bool with_dependencies = false;  ///< what home lacks of what they need comes along
    bool privileges = false;         ///< what was granted on the tables is granted again
    bool only_plan = false;          ///< nothing is written at home
    std::string exec_id;
    /// The number of the role that it is done for, if that is not the one that connects: it must be
    /// a superuser, or have the privileges of the owners and CREATE on the database.
    std::optional<std::uint32_t> for_role = std::nullopt;
    Home home;
    Given<std::chrono::milliseconds> query_timeout;
};

/// The server that has the tables as they were, open for writing.
struct Past {
    std::string socket;
    unsigned port = 0;
    std::string user;                      ///< a superuser
    std::string programs;                  ///< the directory of pg_dump and pg_restore
    std::vector<std::string> environment;  ///< of such a program
    std::string directory;                 ///< for files; removed by the caller
    /// What it shows, for the default of TableRequest::into; 0: as its last commit has it.
    UnixTime time = 0;
};

struct RecoveredTable {
    std::string source;  ///< "public.orders", quoted where SQL needs it
    std::string name;    ///< "rescue.orders"
    std::string owner;   ///< at home
    std::uint64_t rows = 0;
    std::uint64_t bytes = 0;  ///< as COPY writes them
};

struct TableReport {
    std::string database;
    std::string schema;
    std::vector<RecoveredTable> tables;  ///< each partition is one
    /// What the live database lacks of what the tables need: "type public.mood: missing". With
    /// only_plan; else it is an error.
    std::vector<std::string> missing;
    std::vector<std::string> left_out;  ///< SQL of what was not brought back, with the old names
    std::vector<std::string> granted;   ///< SQL of what was granted, with the new names
    std::vector<std::string> notes;     ///< sentences
    double seconds = 0;                 ///< of the copying
};

/// What can be said before there is a server of the past: the live database answers, is no standby
/// and has no schema of the name that was given. What killed commands have left there is removed
/// before, unless nothing is to be written. Kinds db_connect, feature_not_supported,
/// option_invalid_value.
Result<> check_home(const TableRequest& request, const Cancellation& cancel);

/// Removes what commands have left in the live database that were killed: schemas that are not
/// complete, and roles. The one that had this exec_id is known to be dead, and sessions of it that
/// have not noticed are ended. What cannot be removed is a warning.
Result<> tidy_home(const TableRequest& request, const Cancellation& cancel);

/// Where a table is found by the WAL, which knows no names.
struct TableIds {
    std::uint32_t database = 0;
    std::vector<std::uint32_t> oids;  ///< of the tables that were asked for; 0: there is none
};
/// Of TableRequest::tables, in the live database, and in one of the past; none of them, and
/// database 0, where there is no such database.
Result<TableIds> ids_at_home(const TableRequest& request, const Cancellation& cancel);
Result<TableIds> ids_in_past(const TableRequest& request, const Past& past,
                             const Cancellation& cancel);

/// The database of TableRequest::tables in a server of the past.
struct PastDatabase {
    std::uint32_t oid = 0;  ///< 0: there is none of that name
    std::string directory;  ///< in the data directory: "base/5", "pg_tblspc/16390/PG_15_.../5"
};
Result<PastDatabase> database_in_past(const TableRequest& request, const Past& past,
                                      const Cancellation& cancel);
/// Files of the catalogs of that database, and those that are read to bring the tables back, as far
/// as they are there: "base/5/16412", without segments and forks.
Result<std::vector<std::string>> catalog_files_in_past(const TableRequest& request,
                                                       const Past& past,
                                                       const Cancellation& cancel);
Result<std::vector<std::string>> table_files_in_past(const TableRequest& request, const Past& past,
                                                     const Cancellation& cancel);

/// Code of the tables - a function of an index, a check of a domain - runs in sessions only that
/// cannot become more than the tables' owner. On failure, and when cancelled, the schema is gone.
///
/// Kinds: access (TableRequest::for_role may not), not_found (no such table), feature_not_supported
/// (a kind of table that cannot be brought back), db_mismatch (needs what home lacks),
/// option_invalid_value, db_query, execute, cancelled.
Result<TableReport> recover_tables(const TableRequest& request, const Past& past,
                                   const ProgressReceiver& progress, const Cancellation& cancel);

}  // namespace chronos::ops::table
