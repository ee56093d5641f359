#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "chronos/db/server.h"
#include "chronos/pgdata/cluster_files.h"
#include "chronos/repo/manifest.h"

namespace chronos::ops::backup {

/// What is done about one file of the manifest that must be read.
enum class Action {
    copy,     ///< store it
    compare,  ///< read it; the prior's copy serves if the content is the same, else store it
};

struct PlannedFile {
    std::size_t index = 0;   ///< in Manifest::files
    std::string name;        ///< in the manifest
    std::string path;        ///< where to read it
    std::uint64_t size = 0;  ///< when the list was made
    Action action = Action::copy;
    std::string prior_checksum;  ///< with Action::compare
};

/// Fills files, paths, links, targets and defaults of `manifest` from what lies on disk. A
/// tablespace link whose oid is not in `tablespaces` is an error of kind internal.
Result<> describe_cluster(const pgdata::ClusterList& list, const std::string& pgdata,
                          const std::vector<db::Tablespace>& tablespaces, repo::Manifest& manifest);

/// Why all files must be compared by checksum: times in the future, or times and sizes that
/// contradict the prior (reference, section 7.4); nullopt if there is no reason.
std::optional<std::string> reason_for_delta(const repo::Manifest& manifest,
                                            const repo::Manifest* prior, UnixTime listed_at);

/// What to do with each file that must be read, largest first; the entries of the others are taken
/// over from the prior, whose copies serve. `prior` is null for a full backup. Source: reference,
/// section 7.5.
std::vector<PlannedFile> plan_files(pgdata::ClusterList list, const repo::Manifest* prior,
                                    repo::Manifest& manifest);

/// Makes `file` refer to the prior's copy of it; time, owner and mode stay its own.
void refer_to_prior(const repo::Manifest& prior, const repo::ManifestFile& prior_file,
                    repo::ManifestFile& file);

}  // namespace chronos::ops::backup
