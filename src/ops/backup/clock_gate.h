#pragma once

#include <atomic>
#include <chrono>
#include <mutex>

#include "chronos/base/cancel.h"
#include "chronos/db/connection.h"
#include "chronos/db/server.h"
#include "chronos/repo/manifest.h"

namespace chronos::ops::backup {

/// Keeps new files from being copied in the second in which they were listed.
///
/// The next backup takes a file of the same size and time for the same file, and times are whole
/// seconds: one that changes after it was copied must get another time by that, which is sure once
/// the second of its last change is over. An old file gets one whenever it changes, so it may be
/// copied at once. Source: docs/format/backup.md, Copy start time. Any thread.
class ClockGate {
public:
    /// `listed` is the server's clock after the list was made. The connection is used by one thread
    /// at a time, and while others use it too; without one the clock is ours.
    ClockGate(db::Connection* connection, db::ServerTime listed);

    /// Whether pass() need not wait.
    bool open() const;
    /// Returns when the server's clock shows a later second than that of the list. Kind kernel if
    /// the clock does not move.
    Result<> pass(const Cancellation& cancel);

private:
    Result<> wait(const Cancellation& cancel);

    db::Connection* connection_;
    const db::ServerTime listed_;
    const std::chrono::steady_clock::time_point opens_;  ///< by our clock, at the earliest
    std::atomic<bool> passed_{false};
    std::mutex mutex_;  ///< held by the thread that asks the server
};

/// The server's clock, or ours where there is no server.
Result<db::ServerTime> clock_of(db::Connection* connection);

/// Files whose last change is earlier may be copied before the gate opens. It keeps clear of the
/// second of the list, and of that of the control file: the server has just written that, so that
/// the clock of the files' own machine, which gives them their times, cannot be behind it.
UnixTime settled_before(const repo::Manifest& manifest, db::ServerTime listed);

}  // namespace chronos::ops::backup
