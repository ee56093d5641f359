#pragma once

#include "chronos/ops/restore/restore.h"
#include "chronos/requests/context.h"

/// What restore and drill share.
namespace chronos::requests {

/// The restore that the options ask for.
Result<ops::restore::RestoreRequest> restore_request(const Context& context);

/// The call of archive-get for a cluster in `pg_path`, with what this command line said. With a
/// `spool_path` segments are fetched ahead there instead of where the configuration says.
std::string make_restore_command(const Context& context, const std::string& pg_path = "",
                                 const std::string& spool_path = "");

}  // namespace chronos::requests
