#pragma once

#include <map>
#include <string>

#include "chronos/base/result.h"

/// Connection strings as a standby's primary_conninfo is one.
namespace chronos::db {

using ConnectionParameters = std::map<std::string, std::string>;

/// What a connection string of libpq says, in either of its forms, by the names of its parameters:
/// values that libpq would have by itself are not among them. Kind option_invalid_value; the
/// message has nothing of the text, in which a password may be.
Result<ConnectionParameters> parse_conninfo(const std::string& text);

/// The same for a session of another kind with the same server: without what a standby streams by,
/// which is the database, options and its name.
ConnectionParameters without_streaming(ConnectionParameters parameters);

/// Where that leads to, for people: "host=pg1 port=5432 user=replicator".
std::string conninfo_place(const ConnectionParameters& parameters);

}  // namespace chronos::db
