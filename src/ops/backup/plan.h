#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronos/db/server.h"
#include "chronos/pgdata/cluster_files.h"
#include "chronos/repo/manifest.h"

namespace chronos::ops::backup {

/// The file whose copy must not be older than any other.
inline constexpr std::string_view kControlFile = "pg_data/global/pg_control";

/// What is done about one file of the manifest that must be read.
enum class Action {
    copy,     ///< store it
    compare,  ///< read it; the prior's copy serves if the content is the same, else store it
    resume,   ///< an interrupted backup stored it; check that, store it if need be
};

/// Small, for there is one for each file of a cluster: what it is called is in the manifest.
struct PlannedFile {
    std::size_t index = 0;   ///< in Manifest::files
    std::uint64_t size = 0;  ///< when the list was made, bytes
    Action action = Action::copy;
};

/// What one thread does in one go: a file that is stored on its own, or the members of a bundle.
struct CopyJob {
    std::size_t first = 0;  ///< in CopyPlan::files
    std::size_t count = 0;
    bool bundle = false;
    bool held = false;  ///< until the clock has moved on: a file of it is new
};

struct CopyPlan {
    std::vector<PlannedFile> files;  ///< in the order of the jobs, whose ranges cover them
    std::vector<CopyJob> jobs;       ///< pg_control is the only file of the last one
};

/// How bundles are made; sizes are those of the content. Source: docs/format/bundles-and-blocks.md.
struct BundleRules {
    std::uint64_t size = std::uint64_t{20} << 20;  ///< bytes at which a bundle takes no more files
    std::uint64_t limit = std::uint64_t{2} << 20;  ///< bytes of the largest file put into one
};

/// Fills files, paths, links, targets and defaults of `manifest` from what lies on disk. A
/// tablespace link whose oid is not in `tablespaces` is an error of kind internal.
Result<> describe_cluster(const pgdata::ClusterList& list, const std::string& pgdata,
                          const std::vector<db::Tablespace>& tablespaces, repo::Manifest& manifest);

/// Why all files must be compared by checksum: times in the future, or times and sizes that
/// contradict the prior (docs/format/backup.md, Delta); nullopt if there is no reason.
std::optional<std::string> reason_for_delta(const repo::Manifest& manifest,
                                            const repo::Manifest* prior, UnixTime listed_at);

/// What to do with each file that must be read, in order of name; the entries of the others are
/// taken over from the prior, whose copies serve. `prior` is null for a full backup. Empty files
/// are not stored by a backup with bundles. Source: docs/format/backup.md, Reference or copy.
std::vector<PlannedFile> plan_files(const repo::Manifest* prior, repo::Manifest& manifest);

/// Leaves only those files in the prior that are still to be compared with something: of most, what
/// there was to know has been taken over, and two manifests of a large cluster are a lot of memory.
void keep_planned(const std::vector<PlannedFile>& files, const repo::Manifest& manifest,
                  repo::Manifest& prior);

/// Puts files in the order of copying: largest first, then the bundles, old files together and new
/// ones together. `bundles` is nullopt if every file becomes an object of its own. Source:
/// docs/format/bundles-and-blocks.md, Order in bundles.
CopyPlan arrange(std::vector<PlannedFile> files, const repo::Manifest& manifest,
                 std::optional<BundleRules> bundles);

/// Marks the jobs with files whose last change is not earlier than `settled_before`.
void hold_new_files(CopyPlan& plan, const repo::Manifest& manifest, UnixTime settled_before);

/// Makes `file` refer to the prior's copy of it; time, owner and mode stay its own.
void refer_to_prior(const repo::Manifest& prior, const repo::ManifestFile& prior_file,
                    repo::ManifestFile& file);

/// Where a file of a manifest lies in the cluster; the way may lead through links.
std::string source_path(const std::string& pgdata, std::string_view manifest_name);

}  // namespace chronos::ops::backup
