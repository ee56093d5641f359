#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chronos/repo/info.h"
#include "ops/repair/plan.h"

namespace chronos::ops::repair {

/// A directory backup/<stanza>/<label>, and what its manifest says, whichever of its three places
/// it was read from.
struct FoundBackup {
    std::string label;
    std::optional<repo::BackupEntry> entry;     ///< none: no manifest that can be used
    std::optional<repo::HistoryEntry> cluster;  ///< of which it is, with entry
    std::string wrong;                          ///< why there is none
    bool unfinished = false;                    ///< never had a whole one, as far as can be seen
};

struct BackupsRequest {
    const Place& place;
    const std::string& pass;                   ///< of manifests
    const repo::BackupInfo* listed = nullptr;  ///< null if backup.info cannot be read
    const Cancellation& cancel;
};

/// Reads the manifests of all backups, by label, and adds steps for those that can be had from
/// another place than the main file, or whose copy is not good.
Result<std::map<std::string, FoundBackup>> find_backups(const BackupsRequest& request, Plan& plan);

/// What remains of a list of backups.
struct Remaining {
    std::vector<repo::BackupEntry> entries;  ///< ascending by label
    std::vector<std::string> added;          ///< labels that were not listed
    std::vector<std::string> corrected;      ///< that said something else than their manifest
    std::vector<std::string> dropped;
};

/// The clusters of a stanza, as the one info file and the other know them.
struct Clusters {
    std::vector<repo::HistoryEntry> listing;  ///< of backup.info, or what it is to get
    std::vector<repo::HistoryEntry> archive;  ///< of archive.info; empty if it cannot be read
};

/// Decides which backups are listed. Those that cannot be used and that nothing rests on are set
/// aside; of those something rests on, and where the info files are not agreed whose a backup is,
/// it is said what can be done.
Remaining judge_backups(const BackupsRequest& request,
                        const std::map<std::string, FoundBackup>& found, const Clusters& clusters,
                        Plan& plan);

}  // namespace chronos::ops::repair
