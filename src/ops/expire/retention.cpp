#include "ops/expire/retention.h"

#include <algorithm>

namespace chronos::ops::expire {
namespace {

using repo::BackupEntry;
using repo::BackupType;

constexpr UnixTime kDay_s = 86400;

std::string plural(std::uint64_t count, const std::string& noun) {
    return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

class Planner {
public:
    Planner(const std::vector<BackupEntry>& backups, const Retention& retention,
            const std::set<std::string>& held, UnixTime now)
        : backups_(backups), retention_(retention), now_(now) {
        for (const BackupEntry& backup : backups)
            if (held.contains(backup.label)) {
                protected_[backup.label] = "held";
                for (const std::string& reference : backup.references)
                    protected_.emplace(reference, "held backup " + backup.label + " depends on it");
            }
    }

    BackupPlan run() {
        full_rule();
        diff_rule();
        incr_rule();
        for (const BackupEntry& backup : backups_)
            if (!plan_.expired.contains(backup.label))
                plan_.kept.emplace(backup.label, why_kept(backup));
        return std::move(plan_);
    }

private:
    /// Those of the type that are still there, newest first.
    std::vector<const BackupEntry*> living(std::initializer_list<BackupType> types) const {
        std::vector<const BackupEntry*> found;
        for (auto at = backups_.rbegin(); at != backups_.rend(); ++at)
            if (!plan_.expired.contains(at->label) &&
                std::find(types.begin(), types.end(), at->type) != types.end())
                found.push_back(&*at);
        return found;
    }

    void expire(const BackupEntry& backup, const std::string& kind, const std::string& reason) {
        std::vector<std::string> labels;
        for (const std::string& label : with_dependents(backups_, backup.label))
            if (!plan_.expired.contains(label)) labels.push_back(label);
        for (const std::string& label : labels)
            if (protected_.contains(label)) return;
        for (const std::string& label : labels)
            plan_.expired[label] =
                label == backup.label ? reason : "depends on expired backup " + backup.label;
        plan_.sets.emplace_back(kind, std::move(labels));
    }

    /// Index behind the last of `backups` (newest first) that a rule of days keeps: the newest that
    /// ended before the limit stays, so that the whole span can be recovered. Its size if none did.
    std::size_t kept_by_days(const std::vector<const BackupEntry*>& backups,
                             std::uint64_t days) const {
        const UnixTime limit = now_ - static_cast<UnixTime>(days) * kDay_s;
        for (std::size_t i = 0; i < backups.size(); ++i)
            if (backups[i]->timestamp_stop < limit) return i + 1;
        return backups.size();
    }

    /// Oldest first, as they are logged.
    void expire_from(const std::vector<const BackupEntry*>& backups, std::size_t first,
                     const std::string& kind, const std::string& reason) {
        for (std::size_t i = backups.size(); i > first; --i) expire(*backups[i - 1], kind, reason);
    }

    void full_rule() {
        if (!retention_.full) return;
        const auto fulls = living({BackupType::full});
        const std::uint64_t floor = std::max<std::uint64_t>(retention_.full_floor, 1);
        if (retention_.full_unit == Unit::count) {
            const std::size_t keep = std::max(*retention_.full, floor);
            expire_from(fulls, keep, "full backup",
                        "more than " + plural(keep, "full backup") + " (retention-full)");
            return;
        }
        const std::size_t within = kept_by_days(fulls, *retention_.full);
        if (within < fulls.size() || limit_found(fulls)) plan_.fulls_within_days = within;
        expire_from(fulls, std::max<std::size_t>(within, floor), "time-based backup",
                    "a newer full backup is older than " + plural(*retention_.full, "day") +
                        " already (retention-full)");
    }

    bool limit_found(const std::vector<const BackupEntry*>& fulls) const {
        const UnixTime limit = now_ - static_cast<UnixTime>(*retention_.full) * kDay_s;
        return std::any_of(fulls.begin(), fulls.end(),
                           [&](const BackupEntry* full) { return full->timestamp_stop < limit; });
    }

    void diff_rule() {
        if (!retention_.diff) return;
        if (retention_.diff_unit == Unit::days) {
            const auto diffs = living({BackupType::diff});
            expire_from(diffs, kept_by_days(diffs, *retention_.diff), "diff backup",
                        "a newer diff backup is older than " + plural(*retention_.diff, "day") +
                            " already (retention-diff)");
            return;
        }
        if (retention_.diff_per_full) {
            for (const BackupEntry* full : living({BackupType::full})) {
                auto diffs = living({BackupType::diff});
                std::erase_if(diffs,
                              [&](const BackupEntry* diff) { return diff->prior != full->label; });
                expire_from(diffs, *retention_.diff, "diff backup",
                            "more than " + plural(*retention_.diff, "diff backup") + " of " +
                                full->label + " (retention-diff)");
            }
            return;
        }
        // Fulls take places in the count and stay. Source: section 8.2, rule 3.
        const auto both = living({BackupType::full, BackupType::diff});
        for (std::size_t i = both.size(); i > *retention_.diff; --i)
            if (both[i - 1]->type == BackupType::diff)
                expire(*both[i - 1], "diff backup",
                       "more than " + plural(*retention_.diff, "diff or full backup") +
                           " (retention-diff)");
    }

    /// An incr goes only when nothing that stays is based on it.
    void incr_rule() {
        if (!retention_.incr) return;
        const auto incrs = living({BackupType::incr});
        const std::size_t keep = retention_.incr_unit == Unit::count
                                     ? static_cast<std::size_t>(*retention_.incr)
                                     : kept_by_days(incrs, *retention_.incr);
        for (std::size_t i = keep; i < incrs.size(); ++i) {
            if (has_living_dependent(incrs[i]->label)) continue;
            expire(*incrs[i], "incr backup",
                   retention_.incr_unit == Unit::count
                       ? "more than " + plural(keep, "incr backup") + " (retention-incr)"
                       : "older than " + plural(*retention_.incr, "day") + " (retention-incr)");
        }
    }

    bool has_living_dependent(const std::string& label) const {
        return std::any_of(backups_.begin(), backups_.end(), [&](const BackupEntry& other) {
            return other.prior == label && !plan_.expired.contains(other.label);
        });
    }

    std::string why_kept(const BackupEntry& backup) const {
        if (const auto at = protected_.find(backup.label); at != protected_.end())
            return at->second;
        if (has_living_dependent(backup.label)) return "newer backups depend on it";
        return "within retention";
    }

    const std::vector<BackupEntry>& backups_;
    const Retention& retention_;
    const UnixTime now_;
    std::map<std::string, std::string> protected_;  // label => why
    BackupPlan plan_;
};

}  // namespace

std::vector<std::string> with_dependents(const std::vector<BackupEntry>& backups,
                                         const std::string& label) {
    // A backup sorts behind its prior, so one pass in order of labels sees every chain.
    std::set<std::string> found = {label};
    for (const BackupEntry& backup : backups)
        if (found.contains(backup.prior)) found.insert(backup.label);
    return {found.begin(), found.end()};
}

BackupPlan plan_backups(const std::vector<BackupEntry>& backups, const Retention& retention,
                        const std::set<std::string>& held, UnixTime now) {
    return Planner(backups, retention, held, now).run();
}

}  // namespace chronos::ops::expire
