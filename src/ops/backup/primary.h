#pragma once

#include <string>

#include "chronos/base/cancel.h"
#include "chronos/db/connection.h"
#include "chronos/ops/backup/backup.h"
#include "ops/backup/server_side.h"

namespace chronos::ops::backup {

/// A standby cannot end a segment, and what its backup needs is archived when the primary has ended
/// it. Asks that to go on in another one, if it is still in `segment`: by the standby's
/// primary_conninfo, whose role may be allowed to connect to a database and to switch. Nothing
/// depends on it: where it cannot be asked, WAL is waited for as it comes. Returns why it was not
/// asked, in words without any secret; "" if it was, or need not be.
std::string leave_segment_on_primary(const BackupRequest& request, const Cluster& cluster,
                                     const std::string& segment, db::Connection& standby,
                                     const Cancellation& cancel);

}  // namespace chronos::ops::backup
