#pragma once

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/ops/mount/instant.h"
#include "chronos/ops/restore/restore.h"

namespace chronos::flows {

/// A restore that leaves most of the backup where it is: ops::restore::run_restore() of what a
/// server begins with. The directory has to be served from then on (ops::mount::keep_instant())
/// until it is whole.
Result<ops::restore::RestoreResult> run_instant_restore(ops::restore::RestoreRequest request,
                                                        ops::restore::RestorePlan plan,
                                                        const Cancellation& cancel,
                                                        const ProgressReceiver& progress);

}  // namespace chronos::flows
