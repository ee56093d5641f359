#pragma once

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/ops/mount/instant.h"
#include "chronos/ops/restore/restore.h"

namespace chronos::flows {

/// ops::restore::plan_restore() of a restore that leaves most of the backup where it is, with what
/// that is, and with a problem if it cannot be served here.
Result<ops::restore::RestorePlan> plan_instant_restore(const ops::restore::RestoreRequest& request);

/// A restore that leaves most of the backup where it is, as LeftPlan::left of the plan says:
/// ops::restore::run_restore() of what a server begins with. The directory has to be served from
/// then on (ops::mount::keep_instant()) until it is whole.
Result<ops::restore::RestoreResult> run_instant_restore(ops::restore::RestoreRequest request,
                                                        ops::restore::RestorePlan plan,
                                                        const Cancellation& cancel,
                                                        const ProgressReceiver& progress);

}  // namespace chronos::flows
