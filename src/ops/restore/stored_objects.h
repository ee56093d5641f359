#pragma once

#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// What the restore is going to read must be there before anything is removed for it: an object
/// that the repository has not got, or not whole, is a problem of the plan. Lists each backup that
/// is read once; what stands in an object is not looked at (that is what verify does).
Result<> judge_stored_objects(const RestoreRequest& request, RestorePlan& plan);

}  // namespace chronos::ops::restore
