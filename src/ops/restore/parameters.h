#pragma once

#include <vector>

#include "chronos/ops/restore.h"
#include "chronos/pgdata/server_config.h"
#include "chronos/pgdata/wal_targets.h"
#include "timeline.h"

namespace chronos::ops {

/// What only the WAL itself knows.
struct WalKnowledge {
    /// All of it has been read; otherwise the rest says nothing.
    bool complete = false;
    pgdata::TargetInWal target;
};

/// Reads the WAL of this plan, for half a minute at most; what is left then is named in a warning.
/// Raises RestorePlan::required_parameters to what a server must be told for that WAL to be
/// replayed to its end (at least what the cluster had at the time of the backup, and what it was
/// told later), and looks for the target.
WalKnowledge look_into_wal(const RestoreRequest& request,
                           const std::vector<ArchiveLocation>& archives, const TimelinePath& path,
                           std::uint32_t segment_size, RestorePlan& plan);

/// Adds to RestorePlan::other_settings what the configuration has too low.
void raise_parameters(const RestoreRequest& request, const pgdata::ServerConfig& config,
                      RestorePlan& plan);

}  // namespace chronos::ops
