#include "ops/expire/wal.h"

#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::expire {
namespace {

using repo::BackupEntry;
using repo::BackupType;

constexpr std::size_t kTimelineSize = 8;

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

KeepRange range_of(const BackupEntry& backup) {
    KeepRange range{backup.archive_start, backup.archive_stop, backup.label};
    if (backup.archive_stop.empty()) range.last = std::nullopt;
    return range;
}

WalPlan keep_from(const std::string& segment) {
    WalPlan plan;
    plan.action = WalPlan::Action::remove_outside;
    plan.reason = "before archive-expire-before, and no backup is left";
    plan.retention_start = segment;
    plan.history_start = segment.substr(0, kTimelineSize);
    plan.keep.push_back({segment, std::nullopt, "archive-expire-before"});
    return plan;
}

WalPlan keep_all(std::string reason) {
    WalPlan plan;
    plan.reason = std::move(reason);
    return plan;
}

void add_ranges(WalPlan& plan, const std::vector<BackupEntry>& backups, const BackupEntry& base,
                const std::set<std::string>& held) {
    for (const BackupEntry& backup : backups) {
        if (backup.history_id != base.history_id || backup.archive_start.empty()) continue;
        if (backup.label > base.label && !held.contains(backup.label)) continue;
        KeepRange range = range_of(backup);
        if (backup.label == base.label) range.last = std::nullopt;
        if (held.contains(backup.label))
            plan.history_start =
                std::min(plan.history_start, backup.archive_start.substr(0, kTimelineSize));
        plan.keep.push_back(std::move(range));
    }
}

}  // namespace

WalPlan plan_wal(const std::vector<BackupEntry>& backups, const repo::HistoryEntry& entry,
                 bool is_current, const WalRetention& retention,
                 const std::set<std::string>& held) {
    if (!retention.count) return keep_all("archive retention is not set");
    std::vector<const BackupEntry*> counted;  // newest first
    for (auto at = backups.rbegin(); at != backups.rend(); ++at)
        if (counts(retention.type, at->type)) counted.push_back(&*at);
    if (counted.empty() && is_current && !retention.expire_before.empty())
        return keep_from(retention.expire_before);
    if (counted.empty() || counted.size() < *retention.count)
        return keep_all("fewer backups than archive retention wants");
    const BackupEntry* base = retention_backup(counted, entry.id, *retention.count);
    if (base == nullptr && is_current)
        return keep_all("no backup of " + entry.archive_id() + " yet");
    if (base == nullptr) {
        // An archive type may leave backups out of the count that still need their WAL.
        const bool needed =
            std::any_of(backups.begin(), backups.end(),
                        [&](const BackupEntry& backup) { return backup.history_id == entry.id; });
        if (needed) return keep_all("backups of " + entry.archive_id() + " are left");
        WalPlan plan;
        plan.action = WalPlan::Action::remove_whole;
        plan.reason = "no backup of " + entry.archive_id() + " is left";
        return plan;
    }
    if (base->archive_start.empty())
        return keep_all("retention backup " + base->label + " is offline");

    WalPlan plan;
    plan.action = WalPlan::Action::remove_outside;
    plan.reason = "no backup that stays needs it; continuous WAL is kept from " + base->label;
    plan.retention_start = base->archive_start;
    plan.history_start = base->archive_start.substr(0, kTimelineSize);
    add_ranges(plan, backups, *base, held);
    if (!retention.expire_before.empty() && retention.expire_before < plan.retention_start)
        plan.keep.push_back(
            {retention.expire_before, plan.retention_start, "archive-expire-before"});
    std::sort(plan.keep.begin(), plan.keep.end(),
              [](const KeepRange& a, const KeepRange& b) { return a.first < b.first; });
    return plan;
}

bool directory_outside(const WalPlan& plan, std::string_view directory) {
    return std::none_of(plan.keep.begin(), plan.keep.end(), [&](const KeepRange& range) {
        return directory >= repo::wal_directory(range.first) &&
               (!range.last || directory <= repo::wal_directory(*range.last));
    });
}

bool file_outside(const WalPlan& plan, std::string_view file) {
    const std::string_view segment = file.substr(0, pgdata::kWalSegmentNameSize);
    if (segment.size() < pgdata::kWalSegmentNameSize || !is_hex_upper(segment))
        return false;  // not ours to judge
    return std::none_of(plan.keep.begin(), plan.keep.end(),
                        [&](const KeepRange& range) { return range.holds(segment); });
}

}  // namespace chronos::ops::expire
