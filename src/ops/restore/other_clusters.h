#pragma once

#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// --delta and --force take what they find for an older state of the cluster that is restored, and
/// remove what the backup does not have. Adds a problem to the plan for each place where it is
/// another cluster's: the data directory by its control file, tablespaces and links by who leads
/// there. Only --force alone replaces what is somebody else's, and nothing does what the cluster
/// that was backed up goes on using.
void guard_other_clusters(const RestoreRequest& request, RestorePlan& plan);

/// A server that is started on a restore archives into the stanza like the one that was backed up,
/// and the next restore would follow it. Warns where that one goes on: then it is a copy, for a
/// look at the past.
void warn_of_living_original(const RestoreRequest& request, RestorePlan& plan);

/// --delta and --force remove the WAL of the cluster that is there. Warns of what of it nobody else
/// has: it was never archived.
void warn_of_unarchived(const RestoreRequest& request, RestorePlan& plan);

}  // namespace chronos::ops::restore
