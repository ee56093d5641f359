#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/db/connection.h"
#include "chronos/ops/backup/backup.h"
#include "chronos/ops/expire/expire.h"
#include "chronos/ops/stanza/stanza.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/repository.h"

namespace chronos::flows {

/// A repository that is backed up to.
struct BackupTarget {
    unsigned key = 1;
    /// An error is that of this repository; the others get their backups.
    Result<ops::backup::BackupRequest> request;
};

struct BackupRequest {
    pgdata::ControlFile control;        ///< of the cluster
    ops::stanza::StanzaRequest stanza;  ///< without repositories: the flow says which
    std::vector<BackupTarget> targets;  ///< at least one
    /// Those that are not backed up to and get the stanza as well. One that is away, or not
    /// mounted, is no reason to be without a backup in another one.
    std::vector<std::pair<unsigned, Result<repo::Repository>>> others;
    /// There is no other one than the target: whether it has the stanza is learnt from the backup,
    /// without a question of its own.
    bool only_repository = false;
    /// What is expired in the repository of that key when a backup was made there; asked then, so
    /// that an error of it is none of the backup. Empty: nothing is expired.
    std::function<Result<ops::expire::ExpireRequest>(unsigned repo_key)> expire;
};

/// What became of the backup into one of the repositories.
struct BackupOutcome {
    unsigned key = 1;
    Result<ops::backup::BackupResult> result;
    /// What expire left undone after it, by repository; an error if it could not begin.
    Result<std::vector<std::pair<unsigned, Error>>> expire_failures;
};

/// Makes the stanza where it is missing, backs up into all targets at once and expires where that
/// has succeeded. An error is one of all of them; what failed in one repository is in its outcome.
/// Outcomes are in the order of the targets. Without a connection the cluster is stopped. Memory
/// and threads: those of ops::backup.
Result<std::vector<BackupOutcome>> run_backup(const BackupRequest& request,
                                              db::Connection* connection,
                                              const ProgressReceiver& progress,
                                              const Cancellation& cancel);

}  // namespace chronos::flows
