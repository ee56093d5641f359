#pragma once

#include <functional>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/ops/drill/drill.h"
#include "chronos/ops/mount/scratch_mount.h"
#include "chronos/ops/restore/restore.h"

namespace chronos::flows {

struct LookRequest {
    ops::drill::DrillRequest server;
    /// The restore that a copy would be, with a restore_command for a data directory and a spool
    /// elsewhere: it says which backup is looked at and where recovery ends.
    std::function<Result<ops::restore::RestoreRequest>(const std::string& pg_path,
                                                       const std::string& spool_path)>
        restore;
    /// Repository and places are the flow's.
    ops::mount::ScratchMountRequest mount;
    /// What was fetched for a server, once that has ended; may be empty.
    std::function<void(const ops::mount::ScratchMount::Figures&)> fetched = {};
};

/// A server on a backup that nobody has restored, at the target of the recovery, until `cancel` is
/// requested: ops::drill::run_look() on an ops::mount::ScratchMount. This process has called
/// ops::mount::keep_mounts_to_myself().
Result<> run_look(const LookRequest& request,
                  const std::function<Result<>(const ops::drill::Look&)>& ready,
                  const ProgressReceiver& progress, const Cancellation& cancel);

/// The same server, open for writing at the target, until `work` is done; what is written goes with
/// it.
Result<> run_in_past(const LookRequest& request,
                     const std::function<Result<>(const ops::drill::Look&)>& work,
                     const ProgressReceiver& progress, const Cancellation& cancel);

}  // namespace chronos::flows
