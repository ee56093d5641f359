#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronos/ops/expire/expire.h"
#include "chronos/repo/info.h"

namespace chronos::ops::expire {

/// Segments that stay: from `first` to `last`, both included; no `last`: all that follow.
struct KeepRange {
    std::string first;
    std::optional<std::string> last;
    std::string owner;  ///< the backup that needs them, or the option that asked for them

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
    std::string history_start;    ///< timeline (8 digits) from which history files stay
};

/// How much WAL to keep: Retention's, with BackupPlan::archive filled in.
struct WalRetention {
    repo::BackupType type = repo::BackupType::full;
    std::optional<std::uint64_t> count;
    std::string expire_before;  ///< this segment and what follows stays; "" for no such wish
};

/// Which WAL of the history entry stays. Pure. `backups` are those that remain, ascending; of a
/// held one even the history of its timeline stays. Source: docs/format/expire.md, Which WAL
/// expires.
WalPlan plan_wal(const std::vector<repo::BackupEntry>& backups, const repo::HistoryEntry& entry,
                 bool is_current, const WalRetention& retention, const std::set<std::string>& held);

/// Whether a 16-character directory holds only segments outside every range.
bool directory_outside(const WalPlan& plan, std::string_view directory);
/// Whether a file of a directory that is not wholly outside goes: its first 24 characters decide.
bool file_outside(const WalPlan& plan, std::string_view file);

}  // namespace chronos::ops::expire
