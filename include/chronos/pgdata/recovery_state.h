#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/lsn.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_targets.h"

namespace chronos::pgdata {

/// Where a recovery is told to end.
struct RecoveryTarget {
    WalTarget in_wal;  ///< a transaction or a restore point, if it is one
    std::optional<std::int64_t> time_us;
    std::optional<Lsn> lsn;
    bool inclusive = true;

    /// Whether it ends before `at`, of which `content`, whole pages up to there from the beginning
    /// of a segment on, is in front. `before`: where the record before that begins.
    bool ends_before(io::Bytes content, Lsn at, Lsn before) const;
};

/// What a data directory says about the recovery that its server is in, or would begin with.
struct RecoveryState {
    enum class Kind {
        none,
        to_an_end,  ///< ends where the WAL ends, or at a target, and then promotes
        standby     ///< waits for more WAL, here or from its primary, until somebody promotes it
    };
    Kind kind = Kind::none;
    /// The timeline that it ends on, where that is known: the number in the recovery settings; else
    /// the newest timeline history in pg_wal, where PostgreSQL puts that of its target.
    std::optional<Timeline> target;
    /// A standby that follows the newest timeline keeps the history also of one that left its own
    /// before the position where it is, and stays on its own: then `target` is not where it goes.
    bool may_have_refused = false;
    /// It is to end at a transaction, time, name or position: a server since 13 that does not get
    /// there stops, and does not promote.
    bool must_reach = false;
    RecoveryTarget end;  ///< that target, where it can be read
    /// Where the timelines before `target` are left, oldest first.
    std::vector<TimelineSwitch> switches;

    /// The part of a timeline that this recovery reads.
    struct Leg {
        Lsn begin;
        std::optional<Lsn> left;  ///< nullopt: it is the target
    };
    /// nullopt if the timeline is not on the way, or the way is not known.
    std::optional<Leg> leg_of(Timeline timeline) const;
};

/// What cannot be read is not known: the answer to every question is then the careful one.
RecoveryState read_recovery_state(const std::string& pg_path);

/// What a recovery of that directory does not replay is in front of it: where the backup began, if
/// it begins with one; else the redo position of the last checkpoint.
Lsn replay_begin(const std::string& pg_path, const ControlFile& control);

}  // namespace chronos::pgdata
