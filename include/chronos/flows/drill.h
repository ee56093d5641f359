#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/db/connection.h"
#include "chronos/ops/drill/drill.h"
#include "chronos/ops/mount/scratch_mount.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/repo/repository.h"

namespace chronos::flows {

/// A restore point in the running cluster, which a drill has to reach.
struct Marker {
    std::string name;
    std::string stanza;
    repo::Repository repository;  ///< where its WAL has to arrive
    Given<std::chrono::milliseconds> archive_timeout;
};

/// Makes the restore point, and returns when its WAL is in the repository.
Result<> write_marker(db::Connection& connection, const Marker& marker, const Cancellation& cancel);

struct DrillRequest {
    ops::drill::DrillRequest drill;
    /// The restore that is tried, as if it were for the cluster, with a restore_command for a data
    /// directory and a spool elsewhere; the flow leads all else away from the cluster. Asked when
    /// the drill has begun: an error of it is one that the drill has found.
    std::function<Result<ops::restore::RestoreRequest>(const std::string& pg_path,
                                                       const std::string& spool_path)>
        restore;
    std::optional<std::string> marker = std::nullopt;  ///< the restore point that is to be reached
    /// Nothing is restored: the server runs on the backup as a look's does. Repository and places
    /// are the flow's; this process has called ops::mount::keep_mounts_to_myself().
    std::optional<ops::mount::ScratchMountRequest> instant = std::nullopt;
};

/// The restore of a request into the directories of a drill: with locks and spool of its own, so
/// that neither a real restore nor a recovery of this stanza is in the way of the other.
ops::restore::RestoreRequest restore_into(ops::restore::RestoreRequest request,
                                          const ops::drill::Scratch& scratch,
                                          const std::optional<std::string>& marker);

/// Kind file_write if a file system has no room for the restore and for what the server adds: WAL,
/// checkpoints, the results of its work.
Result<> check_space(const ops::restore::RestorePlan& plan);

/// A drill whose restore is that of ops::restore, if there is room for it, or which reads what it
/// needs from the repository; whether the marker was reached is its first check. Errors, and where
/// this may be called: those of ops::drill::run_drill().
Result<ops::drill::DrillReport> run_drill(const DrillRequest& request,
                                          const ProgressReceiver& progress,
                                          const Cancellation& cancel);

}  // namespace chronos::flows
