#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::expire {

enum class Unit { count, days };

/// What to keep. Source of the rules that pgBackRest has too: repository-format reference, section
/// 8; the others (diff by days or per full, incr, floor) are ours.
struct Retention {
    Unit full_unit = Unit::count;
    std::optional<std::uint64_t> full;
    Unit diff_unit = Unit::count;
    std::optional<std::uint64_t> diff;
    bool diff_per_full = false;  ///< count the diffs of each full on their own
    Unit incr_unit = Unit::count;
    std::optional<std::uint64_t> incr;
    std::uint64_t full_floor = 1;  ///< this many full backups stay, whatever else is asked for
    repo::BackupType archive_type = repo::BackupType::full;
    std::optional<std::uint64_t> archive;
    std::optional<std::uint64_t> history_days;
};

struct ExpireRequest {
    std::string stanza;
    repo::Repository repository;
    std::vector<unsigned> lock_keys = {1};
    std::string lock_path = "/tmp/pgbackrest";
    std::string exec_id;
    Retention retention;
    std::string set;      ///< expire this backup and what depends on it; "" for the rules
    bool oldest = false;  ///< expire the oldest full set
    std::string archive_expire_before;  ///< WAL segment; WAL from it on stays
    bool dry_run = false;
};

/// What was decided about one thing in the repository, and why.
struct Decision {
    enum class What { backup, directory, wal, timeline_history, history_manifest };
    What what = What::backup;
    bool removed = false;  ///< or would be, in a dry run
    std::string name;      ///< a label, "15-1/000000010000000000000001-...04", a file name
    std::string reason;
};

/// Removes what retention no longer wants; a dry run decides the same and removes nothing. The
/// order of removal survives a kill between any two steps: manifests of expired backups first, then
/// backup.info, then data, then WAL; the next run finishes what was begun. Takes the backup lock,
/// which pgBackRest takes too.
Result<std::vector<Decision>> run_expire(const ExpireRequest& request, const Cancellation& cancel);

}  // namespace chronos::ops::expire
