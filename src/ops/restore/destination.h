#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "chronos/ops/restore/restore.h"
#include "chronos/pgdata/cluster_files.h"
#include "ops/restore/mapping.h"
#include "ops/restore/ownership.h"

namespace chronos::ops::restore {

/// Kind pg_running if there is a postmaster.pid in the data directory.
Result<> refuse_running(const std::string& pg_path);

/// What a file system has of its own at its root: neither content nor to be touched.
inline bool is_file_systems_own(const std::filesystem::path& path) {
    return pgdata::belongs_to_file_system(path.filename().native());
}

/// The directory, or the file behind a link. A tablespace's is its version directory: the one above
/// it, which root may own, stays.
std::string content_path(const Destination& destination);

/// There is something in the directory, or the file is there.
bool has_content(const Destination& destination);

/// Makes sure that no server is started on a data directory while it is changed: takes
/// global/pg_control, without which none starts, out of its place, and only then looks for a
/// running one. Whoever started before that has a postmaster.pid; it then gets the file back, and
/// the error is of kind pg_running.
class StartBarrier {
public:
    static Result<StartBarrier> close(const std::string& pg_path);
    /// Puts the file back, wherever the directory is by then.
    Result<> open(const std::string& pg_path);
    /// Removes the file for good.
    Result<> seal();

private:
    std::string hidden_;  ///< "" if there was none
};

/// Files that a restore leaves alone or makes itself.
bool is_never_restored(const RestorePlan& plan, std::string_view name);

/// Whether a directory may be restored into (docs/format/restore.md, Target directories). Kinds
/// path_open, path_not_empty, file_exists. Changes nothing.
Result<> check_destination(const RestorePlan& plan, const Destination& destination);

/// Removes what is not in the manifest from directories that exist, makes those that do not, and
/// makes all directories and links of the manifest. An existing global/pg_control goes first and
/// for good: from here on the directory cannot be started. Kind pg_running, with nothing changed,
/// if a server has been started since the plan was made.
Result<> prepare_destinations(const RestorePlan& plan, const Ownership& ownership);

}  // namespace chronos::ops::restore
