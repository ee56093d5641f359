#pragma once

#include <vector>

#include "chronos/ops/restore.h"
#include "chronos/pgdata/server_config.h"
#include "timeline.h"

namespace chronos::ops {

/// What a server must be told for the WAL of this plan to be replayed to its end: at least what the
/// cluster had at the time of the backup, and what it was told later, which stands in the WAL. So
/// the WAL is read, for half a minute at most; what is left then is named in a warning. Raises
/// RestorePlan::required_parameters.
void find_parameters(const RestoreRequest& request, const std::vector<ArchiveLocation>& archives,
                     const TimelinePath& path, RestorePlan& plan);

/// Adds to RestorePlan::other_settings what the configuration has too low.
void raise_parameters(const RestoreRequest& request, const pgdata::ServerConfig& config,
                      RestorePlan& plan);

}  // namespace chronos::ops
