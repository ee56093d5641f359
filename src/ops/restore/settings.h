#pragma once

#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// Reads the server's configuration as it will be after the restore (from the backup what lies
/// below the data directory, from this machine what lies elsewhere) and notes in the plan what of
/// it has a say in this recovery. Reads a few small files; what cannot be read is a warning.
void plan_settings(const RestoreRequest& request, RestorePlan& plan);

/// The same for the settings that recovery needs higher than the cluster has them, once more is
/// known of its WAL.
void plan_parameters(const RestoreRequest& request, RestorePlan& plan);

/// Reads back what was written, as the server will, and compares it with what was meant. An error
/// of kind runtime says which setting counts instead, and where it stands.
Result<> check_settings(const RestoreRequest& request, const RestorePlan& plan);

}  // namespace chronos::ops::restore
