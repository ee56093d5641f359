#pragma once

#include <memory>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/db/connection.h"
#include "chronos/ops/backup/backup.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/side/lease.h"
#include "ops/backup/witness.h"

namespace chronos::ops::backup {

/// Gives the server's backup lock back.
struct ReleaseBackupLock {
    void operator()(db::Connection* connection) const;
};

/// Why this run alone makes this backup: locks of the host, of the repository and of the server,
/// and what it has written itself. Held from the first phase to the last. Goes with the last owner.
struct Guard {
    std::vector<std::unique_ptr<repo::Lock>> locks;
    repo::Lock* progress_lock = nullptr;  ///< of `locks`: shows the progress; may be null
    std::unique_ptr<repo::Lease> lease;   ///< null where there is no stanza
    Witness witness;
    std::unique_ptr<db::Connection, ReleaseBackupLock> server;

    /// Kind lock_acquire if somebody else took this run for dead.
    Result<> prove_lease() const { return lease ? lease->prove() : Result<>(); }
};

/// Kind lock_acquire if somebody else makes one.
/// Without a connection the server's lock is not among it: there is no server.
Result<Guard> take_guard(const BackupRequest& request, db::Connection* connection,
                         const Cancellation& cancel);

}  // namespace chronos::ops::backup
