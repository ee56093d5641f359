#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::expire {

enum class Unit { count, days };

/// What to keep. Source of the rules that pgBackRest has too: docs/format/expire.md; the others
/// (diff by days or per full, incr, floor) are ours.
struct Retention {
    Unit full_unit = Unit::count;
    std::optional<std::uint64_t> full;
    Unit diff_unit = Unit::count;
    std::optional<std::uint64_t> diff;
    bool diff_per_full = false;  ///< count the diffs of each full on their own
    Unit incr_unit = Unit::count;
    std::optional<std::uint64_t> incr;
    /// This many full backups, and their WAL, stay whatever else is asked for; one always does.
    std::uint64_t full_floor = 0;
    repo::BackupType archive_type = repo::BackupType::full;
    std::optional<std::uint64_t> archive;
    std::optional<std::uint64_t> history_days;
};

struct ExpireRepository {
    repo::Repository repository;
    Retention retention;
    bool symlink = true;  ///< a link `latest` is kept
};

struct ExpireRequest {
    std::string stanza;
    std::vector<ExpireRepository> repositories;
    std::vector<unsigned> lock_keys = {1};
    std::string lock_path;
    std::string exec_id;
    std::string pg_path;  ///< of the server that asks; "" where there is none, as on another host
    /// Expire this backup and what depends on it: a label, "latest", "oldest"; "" for the rules.
    std::string set;
    bool oldest = false;                ///< expire the oldest full backup with its dependents
    std::string archive_expire_before;  ///< WAL segment; WAL from it on stays
    bool dry_run = false;
};

/// What was decided about one thing in a repository, and why.
struct Decision {
    enum class What { backup, directory, wal, timeline_history, history_manifest };
    unsigned repo_key = 1;
    What what = What::backup;
    bool removed = false;  ///< or would be, in a dry run
    std::string name;  ///< a label, "15-1/000000010000000000000001..000000010000000000000004", ...
    std::string reason;
};
std::string_view what_name(Decision::What what);  ///< "backup", "timeline-history", ...

struct ExpireOutcome {
    std::vector<Decision> decisions;
    /// Repositories that could not be worked on, or not to the end; the others are done.
    std::vector<std::pair<unsigned, Error>> failures;
};

/// Removes what retention no longer wants; a dry run decides the same and removes nothing.
///
/// Order of removal: manifests of expired backups, newest first; backup.info; a barrier; data; WAL;
/// old manifests in backup.history. Killed between any two steps, or after a loss of power, no
/// backup is listed that misses anything, and the next run finishes what was begun. A backup that
/// appears while it works (of a host that shares no lock path with this one) is left alone.
///
/// Takes the backup lock, which pgBackRest takes too, and repo::LockType::hold; a dry run takes
/// none. An error is one that concerns all repositories.
Result<ExpireOutcome> run_expire(const ExpireRequest& request, const Cancellation& cancel);

}  // namespace chronos::ops::expire
