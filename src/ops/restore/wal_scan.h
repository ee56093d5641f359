#pragma once

#include <optional>

#include "chronos/ops/restore/restore.h"
#include "chronos/pgdata/wal_commits.h"
#include "ops/restore/timeline.h"

namespace chronos::ops::restore {

struct WalScanRequest {
    std::vector<ArchiveLocation> archives;  ///< what is in any of them is there
    const repo::Manifest* manifest = nullptr;
    const TimelinePath* path = nullptr;
    const repo::Timelines* timelines = nullptr;
    std::uint32_t segment_size = 16u << 20;
    std::optional<Lsn> until;  ///< WAL behind it is not needed
    std::string stanza;
};

struct WalScan {
    RestoreWal wal;
    /// Missing between start and stop of the backup itself: without them it cannot be used.
    std::vector<std::string> missing_in_backup;
    std::uint64_t newer_count = 0;  ///< segments in the archive behind the end of the backup
    /// The first segment missing behind the backup, though later WAL of the way exists or existed.
    struct Hole {
        Timeline timeline = 0;
        std::string segment;
        Lsn begin;
    };
    std::optional<Hole> hole;
};

/// What is known of the WAL right in front of a hole, which may begin within a segment: up to there
/// a recovery can be promised.
struct BeforeHole {
    std::optional<pgdata::WalCommit> commit;  ///< the last one, if it is in the last few segments
    Lsn record;                               ///< where the last whole record begins; 0: not known
};
BeforeHole look_before(const WalScanRequest& request, const WalScan::Hole& hole);

/// Where the last whole record of a segment begins; 0: not known.
Lsn last_record_of(const WalScanRequest& request, const std::string& segment);

/// Looks at the names in the archive only.
Result<WalScan> scan_wal(const WalScanRequest& request);

}  // namespace chronos::ops::restore
