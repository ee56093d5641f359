#pragma once

#include <cstdint>
#include <string>

#include "chronos/base/lsn.h"
#include "chronos/db/connection.h"

/// What is asked of a standby, and of the primary that it follows.
namespace chronos::db {

/// Of a server in recovery: the end of what it has replayed.
Result<Lsn> replayed_lsn(Connection& connection);
/// Of a standby: where its primary is, with all that is needed to connect, perhaps a password; ""
/// if that is not set, or not for this role to know.
Result<std::string> primary_conninfo(Connection& connection);

/// A standby's backup ends well only if nobody has promoted it. Kind db_mismatch if somebody has.
Result<> check_not_promoted(Connection& connection);

/// Lets the primary of a cluster, which goes on writing WAL, leave `segment` if it is still in it,
/// so that it is archived. Asks nothing that a role without privileges may not, but for the switch
/// itself. Kind db_mismatch if the server is another one, or a standby.
Result<> leave_segment(Connection& primary, std::uint64_t system_id, const std::string& segment);

}  // namespace chronos::db
