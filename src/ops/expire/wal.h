#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "chronos/ops/expire.h"
#include "chronos/repo/info.h"

namespace chronos::ops::expire {

/// Segments that stay: from `first` to `last`, both included; no `last`: all that follow.
struct KeepRange {
    std::string first;
    std::optional<std::string> last;
    std::string backup;  ///< the backup that needs them

    bool holds(std::string_view segment) const {
        return segment >= first && (!last || segment <= *last);
    }
};

/// What happens to one archive id.
struct WalPlan {
    enum class Action { nothing, remove_whole, remove_outside };
    Action action = Action::nothing;
    std::string reason;
    std::vector<KeepRange> keep;  ///< for remove_outside; sorted by first
    std::string retention_start;  ///< continuous WAL from here on
};

/// Which WAL of the history entry stays. Pure. `backups` are those that remain, ascending.
/// Source: repository-format reference, section 8.4.
WalPlan plan_wal(const std::vector<repo::BackupEntry>& backups, const repo::HistoryEntry& entry,
                 bool is_current, const Retention& retention, const std::set<std::string>& held,
                 const std::string& expire_before);

/// Whether a 16-character directory holds only segments outside every range.
bool directory_outside(const WalPlan& plan, std::string_view directory);
/// Whether a file of a directory that is not wholly outside goes: its first 24 characters decide.
bool file_outside(const WalPlan& plan, std::string_view file);

}  // namespace chronos::ops::expire
