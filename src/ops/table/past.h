#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chronos/db/connection.h"
#include "chronos/ops/table/table.h"
#include "ops/table/needs.h"

/// The side of the past: which tables there are, and how they are made ready to be taken.
namespace chronos::ops::table {

struct PastTable {
    std::string oid;
    std::string schema;
    std::string name;
    std::string owner;      ///< of the table that was named, also for its partitions
    std::string shown;      ///< "public.orders", quoted where SQL needs it
    std::string root_name;  ///< of the table that was named
    bool has_rows = true;   ///< not a partitioned table itself
    std::uint64_t size_bytes = 0;
};

/// As the superuser, or as the role of make_reader().
Result<std::unique_ptr<db::Connection>> connect_to_past(
    const Past& past, const std::string& user, const std::string& database,
    const Given<std::chrono::milliseconds>& limit, const Cancellation& cancel);

/// Transactions that were prepared at the target, and neither committed nor rolled back, are no
/// part of that moment; they hold locks that nobody else would release.
Result<> end_prepared(db::Connection& past);

/// What a request stands for: of a whole schema each table that can be brought back, but for those
/// that go with another one. What the schema has beside them is a note. Kind not_found.
struct Expanded {
    std::vector<TableName> names;
    std::vector<std::string> notes;
};
Result<Expanded> expand(db::Connection& past, const std::vector<TableName>& names);

/// Those that were named, with all partitions and children, each once, parents first. Kinds
/// not_found, feature_not_supported.
Result<std::vector<PastTable>> find_tables(db::Connection& past,
                                           const std::vector<TableName>& names);
std::vector<std::string> oids_of(const std::vector<PastTable>& tables);

/// SQL of what hangs on the tables and is not brought back.
Result<std::vector<std::string>> left_out(db::Connection& past,
                                          const std::vector<PastTable>& tables);

/// What somebody was granted on a table, its columns or its sequences.
struct Grant {
    std::string grantee;  ///< "" for all
    std::string sql;      ///< for tables that are in the new schema
    /// As it was: with the old names.
    std::string old_sql;
    bool had_schema = false;  ///< the use of the schema, too
    /// The table has policies, which are not brought back: who may see some rows only would see all
    /// of them.
    bool has_policies = false;
};
Result<std::vector<Grant>> grants_on(db::Connection& past, const std::vector<PastTable>& tables,
                                     const std::string& schema);

/// Takes off what is not brought back, and moves the tables into a new schema, so that no SQL has
/// to be rewritten: whatever names them there has the new name.
Result<> move_tables(db::Connection& past, const std::vector<PastTable>& tables,
                     const std::string& schema);
/// What the tables need goes with them. Kind as of a statement that fails: two of one name.
Result<> move_needs(db::Connection& past, const std::vector<Need>& needs,
                    const std::string& schema);
/// A role that can log in and do nothing else.
inline constexpr const char* kReader = "chronos_recover_reader";
Result<> make_reader(db::Connection& past);
/// It can read these tables, which are in `schema`, or where they were if that is "".
Result<> let_read(db::Connection& past, const std::vector<PastTable>& tables,
                  const std::string& schema);
/// What COPY is going to say of a condition for rows, while the tables are where they were.
Result<> check_condition(db::Connection& reader, const std::vector<PastTable>& tables,
                         const std::string& where);
/// Out of the way of the next ones.
Result<> set_schema_aside(db::Connection& past, const std::string& schema, std::size_t number);

struct SequenceValue {
    std::string name;
    std::string value;
    std::string called;  ///< "t", "f"
};
/// Of all sequences of a schema.
Result<std::vector<SequenceValue>> sequence_values(db::Connection& past, const std::string& schema);

/// "(a, b)" of the columns that COPY takes; "" of a table without any.
Result<std::string> copied_columns(db::Connection& past, const PastTable& table);
/// COPY ... TO STDOUT of the rows of one table, without its children.
std::string copy_out_statement(const PastTable& table, const std::string& schema,
                               const std::string& columns, const std::string& where);

}  // namespace chronos::ops::table
