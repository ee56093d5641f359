#include "ops/expire/wal.h"

#include <algorithm>

namespace chronos::ops::expire {
namespace {

using repo::BackupEntry;
using repo::BackupType;

constexpr std::size_t kDirectorySize = 16;
constexpr std::size_t kSegmentSize = 24;

bool counts(BackupType retention_type, BackupType type) {
    switch (retention_type) {
        case BackupType::full: return type == BackupType::full;
        case BackupType::diff: return type != BackupType::incr;
        case BackupType::incr: break;
    }
    return true;
}

/// The backup from which on WAL is kept without a gap: the oldest of the newest `archive` that
/// count and belong to this history entry, else the newest of them that does.
const BackupEntry* retention_backup(const std::vector<const BackupEntry*>& counted,
                                    std::uint64_t history_id, std::size_t archive) {
    const BackupEntry* found = nullptr;
    for (std::size_t i = 0; i < counted.size(); ++i) {
        if (counted[i]->history_id != history_id) continue;
        if (i < archive || found == nullptr) found = counted[i];
        if (i >= archive) break;
    }
    return found;
}

}  // namespace

WalPlan plan_wal(const std::vector<BackupEntry>& backups, const repo::HistoryEntry& entry,
                 bool is_current, const Retention& retention, const std::set<std::string>& held,
                 const std::string& expire_before) {
    WalPlan plan;
    if (!retention.archive) {
        plan.reason = "archive retention is not set";
        return plan;
    }
    std::vector<const BackupEntry*> counted;  // newest first
    for (auto at = backups.rbegin(); at != backups.rend(); ++at)
        if (counts(retention.archive_type, at->type)) counted.push_back(&*at);
    if (counted.size() < *retention.archive || counted.empty()) {
        if (counted.empty() && is_current && !expire_before.empty()) {
            plan.action = WalPlan::Action::remove_outside;
            plan.reason = "before archive-expire-before, and no backup is left";
            plan.retention_start = expire_before;
            plan.keep.push_back({expire_before, std::nullopt, "archive-expire-before"});
            return plan;
        }
        plan.reason = "fewer backups than archive retention wants";
        return plan;
    }
    const BackupEntry* base = retention_backup(counted, entry.id, *retention.archive);
    if (base == nullptr) {
        if (!is_current) {
            plan.action = WalPlan::Action::remove_whole;
            plan.reason = "no backup of " + entry.archive_id() + " is left";
        } else {
            plan.reason = "no backup of " + entry.archive_id() + " yet";
        }
        return plan;
    }
    if (base->archive_start.empty()) {
        plan.reason = "retention backup " + base->label + " is offline";
        return plan;
    }
    plan.action = WalPlan::Action::remove_outside;
    plan.reason = "no backup that stays needs it; continuous WAL is kept from " + base->label;
    plan.retention_start = base->archive_start;
    for (const BackupEntry& backup : backups) {
        if (backup.history_id != entry.id || backup.archive_start.empty()) continue;
        if (backup.label > base->label && !held.contains(backup.label)) continue;
        KeepRange range{backup.archive_start, backup.archive_stop, backup.label};
        if (backup.label == base->label) range.last = std::nullopt;
        plan.keep.push_back(std::move(range));
    }
    if (!expire_before.empty() && expire_before < plan.retention_start)
        plan.keep.push_back({expire_before, plan.retention_start, "archive-expire-before"});
    std::sort(plan.keep.begin(), plan.keep.end(),
              [](const KeepRange& a, const KeepRange& b) { return a.first < b.first; });
    return plan;
}

bool directory_outside(const WalPlan& plan, std::string_view directory) {
    return std::none_of(plan.keep.begin(), plan.keep.end(), [&](const KeepRange& range) {
        return directory >= std::string_view(range.first).substr(0, kDirectorySize) &&
               (!range.last ||
                directory <= std::string_view(*range.last).substr(0, kDirectorySize));
    });
}

bool file_outside(const WalPlan& plan, std::string_view file) {
    if (file.size() < kSegmentSize) return false;
    const std::string_view segment = file.substr(0, kSegmentSize);
    return std::none_of(plan.keep.begin(), plan.keep.end(),
                        [&](const KeepRange& range) { return range.holds(segment); });
}

}  // namespace chronos::ops::expire
