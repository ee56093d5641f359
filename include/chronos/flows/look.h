#pragma once

#include <functional>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/ops/drill/drill.h"
#include "chronos/ops/mount/scratch_mount.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/ops/table/table.h"

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
    /// Of run_in_past(): nothing is mounted, and what is needed restored.
    bool by_restore = false;
};

/// A server on a backup that nobody has restored, at the target of the recovery, until `cancel` is
/// requested: ops::drill::run_look() on an ops::mount::ScratchMount. This process has called
/// ops::mount::keep_mounts_to_myself().
Result<> run_look(const LookRequest& request,
                  const std::function<Result<>(const ops::drill::Look&)>& ready,
                  const ProgressReceiver& progress, const Cancellation& cancel);

/// What a server of the past is going to be asked for.
struct ReadInPast {
    const ops::table::TableRequest& request;  ///< its database, and
    bool tables = true;  ///< the rows of its tables; else only what the catalogs say
};

/// The same server, open for writing at the target, until `work` is done; what is written goes with
/// it. Where nothing can be mounted, and with LookRequest::by_restore, its data directory is
/// restored as far as `read` needs it: ops::drill::RestoredBackup::fetched_bytes is empty then.
/// Whatever else `work` asks for is an error then.
Result<> run_in_past(const LookRequest& request, const ReadInPast& read,
                     const std::function<Result<>(const ops::drill::Look&)>& work,
                     const ProgressReceiver& progress, const Cancellation& cancel);

}  // namespace chronos::flows
