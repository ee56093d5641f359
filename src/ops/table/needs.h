#pragma once

#include <string>
#include <vector>

#include "chronos/db/connection.h"

namespace chronos::ops::table {

/// Something outside of the tables that they cannot be without.
struct Need {
    std::string kind;        ///< "type", "function", "collation", "sequence", ...
    std::string identity;    ///< with schema and arguments, as SQL has it
    std::string schema;      ///< quoted where SQL needs it; "" for what has none
    std::string definition;  ///< equal where both servers have the same
    /// It can be made anew in another schema: an enum, a composite type, a domain, a sequence, or a
    /// function in a trusted language that runs with the rights of who calls it; of no extension.
    bool can_move = false;

    /// "TYPE types.mood": behind ALTER.
    std::string sql_name() const;
    bool operator==(const Need&) const = default;
};

/// What tables need: types of their columns and what those are made of, functions, operators,
/// collations, sequences that are not theirs, access methods. What every server has is not listed.
Result<std::vector<Need>> needs_of(db::Connection& past, const std::vector<std::string>& oids);
/// Those of another server that have these identities.
Result<std::vector<Need>> described(db::Connection& home, const std::vector<Need>& needs);
/// What a schema has of those that can move, but for the sequences that belong to tables.
Result<std::vector<Need>> movable_in(db::Connection& connection, const std::string& schema);
/// Those that home has not at all and that can move, taken out of `needs`.
std::vector<Need> take_movable(std::vector<Need>& needs, const std::vector<Need>& home);
/// What of them belonged to whom: number and name of a role, and one thing that it had.
Result<db::Rows> owners_of(db::Connection& past, const std::vector<Need>& needs);
/// A line for each that home has not, or has otherwise. An enum may have got more labels there.
std::vector<std::string> missing_at_home(const std::vector<Need>& needs,
                                         const std::vector<Need>& home);

/// Whether code of a user runs when rows go into tables, and when their indexes are built: a
/// function, a range type, whose indexes call one, or a domain, which its owner can give a new
/// check at any time. What of the server's own functions is not immutable counts as such code, for
/// it may run some (query_to_xml); what an extension has in C does not.
Result<bool> runs_code(db::Connection& connection, const std::vector<std::string>& oids);

/// An array of the server, as text.
std::string array_of(const std::vector<std::string>& elements);

}  // namespace chronos::ops::table
