#pragma once

#include <optional>

#include "chronos/ops/restore.h"
#include "timeline.h"

namespace chronos::ops {

struct WalScanRequest {
    std::vector<ArchiveLocation> archives;  ///< what is in any of them is there
    const repo::Manifest* manifest = nullptr;
    const TimelinePath* path = nullptr;
    std::uint32_t segment_size = 16u << 20;
    std::optional<Lsn> until;  ///< WAL behind it is not needed
};

struct WalScan {
    RestoreWal wal;
    /// Missing between start and stop of the backup itself: without them it cannot be used.
    std::vector<std::string> missing_in_backup;
    std::uint64_t newer_count = 0;  ///< segments in the archive behind the end of the backup
};

/// Looks at the names in the archive only.
Result<WalScan> scan_wal(const WalScanRequest& request);

}  // namespace chronos::ops
