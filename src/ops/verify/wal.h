#pragma once

#include <map>
#include <string>
#include <vector>

#include "chronos/pgdata/wal.h"
#include "chronos/repo/info.h"
#include "ops/verify/backups.h"
#include "ops/verify/scope.h"

namespace chronos::ops::verify {

/// A segment that the archive has, good or not.
struct WalSegment {
    std::string name;
    UnixTime modified = 0;
    FindingId finding = kNoFinding;
};

/// What is known of one archive id after its WAL was read.
struct WalArchive {
    std::string id;  ///< "15-1"
    std::uint64_t history_id = 0;
    std::string pass;
    std::uint32_t segment_size = 16u << 20;
    std::vector<WalSegment> segments;  ///< ascending, each name once
    /// Of each timeline that has a history file which can be read.
    std::map<Timeline, std::vector<pgdata::TimelineSwitch>> histories;
};

struct WalRead {
    std::vector<VerifiedArchive> counts;
    std::vector<WalArchive> archives;
    bool vanished = false;  ///< segments were removed meanwhile
};

/// Reads every segment of the archive: decrypt, decompress, SHA-1 against the name, size, the
/// header against name and cluster, and the WAL itself, which has to reach as far as it is needed:
/// to the end of the segment if its timeline goes on in the next one, to the end of a backup, and
/// to where another timeline begins. Unless `everything`, the segments of those backups alone. The
/// ledger is encrypted with `backup_pass`.
Result<WalRead> verify_wal(const Scope& scope, const repo::ArchiveInfo& info,
                           const std::string& backup_pass, const std::vector<WalNeed>& needs,
                           bool everything);

}  // namespace chronos::ops::verify
