#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// What a recovery may be told to stop at and only the WAL itself knows.
struct WalTarget {
    std::optional<std::uint32_t> xid;  ///< the end of a transaction
    std::string name;                  ///< a restore point; "" for none
    /// Where the backup ends: a server refuses to stop before it is consistent.
    Lsn from;
};

/// What a segment says about it.
struct TargetInWal {
    bool found = false;
    std::optional<Lsn> first;  ///< where the first record that is it begins
    /// It may be there all the same: in a record that the next segment completes, or as the end of
    /// a prepared transaction that dropped something.
    bool uncertain = false;
    /// The latest end of a transaction in the segment, commit or abort, by the clock of the server
    /// that wrote it, since 1970 UTC: a recovery to a time stops at the first one behind it, and
    /// only there.
    std::optional<std::int64_t> last_end_us;

    void add(const TargetInWal& other);
};

/// Looks at a segment of version 12 or later, which begins with its first page, wherever a record
/// may begin; a record counts if its checksum is right, so that what precedes need not be whole.
/// What is no WAL says nothing.
TargetInWal find_target_in_wal(io::Bytes content, const WalTarget& target);

}  // namespace chronos::pgdata
