#pragma once

#include "chronos/base/result.h"
#include "chronos/base/server_files.h"
#include "chronos/db/connection.h"

namespace chronos::db {

/// Where the server has its configuration; "" also for what the role of the session may not see.
Result<ServerFiles> config_places(Connection& connection);

}  // namespace chronos::db
