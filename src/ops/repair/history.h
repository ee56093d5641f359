#pragma once

#include <map>
#include <vector>

#include "chronos/repo/info.h"
#include "ops/repair/archives.h"
#include "ops/repair/backups.h"
#include "ops/repair/info_files.h"

namespace chronos::ops::repair {

/// What is known of the clusters of a stanza, from whatever tells it.
struct Sources {
    const FoundInfos& infos;
    const std::map<std::string, FoundBackup>& backups;
    const std::vector<FoundArchive>& archives;
    const std::optional<repo::ClusterIdentity>& cluster;  ///< of the configured data directory
};

struct KnownHistory {
    std::vector<repo::HistoryEntry> entries;  ///< ascending id, complete for backup.info
    std::uint64_t current_id = 0;             ///< 0 if there is no entry
    std::vector<std::string> unknown;         ///< archive ids of which nothing tells the cluster
};

/// An info file that can be read decides; else manifests, the headers of WAL segments and the
/// cluster that is there now tell which clusters the stanza has had.
KnownHistory known_history(const Sources& sources);

}  // namespace chronos::ops::repair
