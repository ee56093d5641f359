#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "ops/verify/scope.h"

namespace chronos::ops::verify {

/// What a backup needs of the archive.
struct WalNeed {
    std::string label;
    std::uint64_t history_id = 0;
    std::string start;  ///< segments; "" for an offline backup
    std::string stop;
    Lsn stop_lsn;                  ///< 0: not known
    std::vector<std::string> own;  ///< segments that the backup itself holds (archive-copy)
    bool wanted = true;            ///< one of those to verify; false: known from backup.info only
};

struct VerifiedBackups {
    std::vector<VerifiedBackup> backups;  ///< ascending label
    std::vector<WalNeed> needs;           ///< of all that are listed or complete
};

/// Every backup whose label is in `wanted` (all if it is nullptr): its manifest and the copy of it,
/// what backup.info says of it, everything it stores and everything it refers to.
Result<VerifiedBackups> verify_backups(const Scope& scope, const repo::BackupInfo& info,
                                       const std::set<std::string>* wanted);

}  // namespace chronos::ops::verify
