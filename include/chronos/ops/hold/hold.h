#pragma once

#include <string>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::hold {

struct HoldRequest {
    std::string stanza;
    std::vector<repo::Repository> repositories;
    std::vector<unsigned> lock_keys = {1};
    std::string lock_path;
    std::string exec_id;
    std::string set;     ///< a label, "latest", "oldest" or "all"
    std::string reason;  ///< of hold(); may be ""
};

struct HeldBackup {
    unsigned repo_key = 1;
    std::string label;
    std::string reason;
    UnixTime since = 0;
    bool present = true;  ///< false: the backup is gone, removed by something that knows no holds
};

/// From now on our expire leaves the backup alone, with what it depends on and the WAL it needs.
/// Works while a backup runs; not while expire does, of which it is a matter (kind lock_acquire).
/// Returns what is held now because of it; kind backup_set_invalid if no repository lists it.
Result<std::vector<HeldBackup>> hold(const HoldRequest& request);

/// Returns what was released; kind backup_set_invalid if there was nothing to release.
Result<std::vector<HeldBackup>> unhold(const HoldRequest& request);

Result<std::vector<HeldBackup>> list(const HoldRequest& request);

}  // namespace chronos::ops::hold
