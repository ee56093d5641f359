#pragma once

#include <string>
#include <vector>

#include "chronos/ops/restore.h"
#include "chronos/pgdata/wal.h"

namespace chronos::ops {

/// Where the WAL of a backup lies in one repository.
struct ArchiveLocation {
    const repo::Repository* repository = nullptr;
    std::string directory;    ///< "archive/main/15-1"
    std::string cipher_pass;  ///< of the archive
};

/// The way recovery takes from the timeline of the backup to the one it ends on.
struct TimelinePath {
    Timeline backup = 0;
    Timeline target = 0;
    Timeline newest = 0;  ///< the highest one the archive knows
    /// Left at these positions, in order: none when target == backup.
    std::vector<pgdata::TimelineSwitch> switches;
};

/// The major version of "15" or "9.6".
unsigned major_of(std::string_view version);

/// Checks that the target timeline descends from the backup (section 9.3). Kinds db_mismatch,
/// not_found, format with the texts of pgBackRest.
Result<TimelinePath> check_timeline(const RestoreRequest& request, RecoveryType type,
                                    const repo::Manifest& manifest, const ArchiveLocation& archive);

}  // namespace chronos::ops
