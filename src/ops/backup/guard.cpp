#include "ops/backup/guard.h"

#include "chronos/base/clock.h"
#include "chronos/db/server.h"

namespace chronos::ops::backup {
namespace {

/// Others than backups hold the lock for a moment: an archiver that makes the stanza, an
/// annotation.
Result<std::unique_ptr<repo::Lock>> acquire_soon(const repo::LockRequest& request,
                                                 const Cancellation& cancel) {
    constexpr std::chrono::seconds kPatience(1);
    constexpr std::chrono::milliseconds kPause(50);
    const Deadline deadline(kPatience);
    for (;;) {
        auto lock = repo::Lock::acquire(request);
        if (lock || lock.error().kind() != ErrorKind::lock_acquire || deadline.passed())
            return lock;
        CHRONOS_TRY(cancel.sleep(kPause));
    }
}

}  // namespace

void ReleaseBackupLock::operator()(db::Connection* connection) const {
    db::release_backup_lock(*connection);
}

Result<Guard> take_guard(const BackupRequest& request, db::Connection* connection,
                         const Cancellation& cancel) {
    Guard guard;
    for (const unsigned key : request.lock_keys) {
        guard.locks.push_back(CHRONOS_TRY(acquire_soon(
            {request.lock_path, request.stanza, repo::LockType::backup, key, request.exec_id},
            cancel)));
        if (key == request.repository.key) guard.progress_lock = guard.locks.back().get();
    }
    // Others may have other lock files: what they share is the server, and the repository.
    std::string server;
    if (connection != nullptr) {
        server = CHRONOS_TRY(db::take_backup_lock(*connection, cancel));
        guard.server.reset(connection);
    }
    guard.lease = CHRONOS_TRY(
        repo::Lease::take(request.repository, {request.stanza, "backup", request.exec_id, server}));
    return guard;
}

}  // namespace chronos::ops::backup
