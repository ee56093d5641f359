// docs/format/expire.md, Which backups expire; docs/retention.md has the rules that are ours.
//
// Idea: each rule looks at what the rules before it have left (living()), newest first, and removes
// with a backup all that depends on it: full, then diff, then incr. A list goes in and two lists
// with reasons come out; no repository is touched, so every rule is tested on lists alone.
//
// Invariants: what is kept keeps all it depends on; of each rule of days the newest backup before
// the span stays, since without it the span cannot be recovered whole; at least floor_ full backups
// stay, whatever is asked for.
//
// Holds come last, on purpose. The rules run as if nothing were held, and then what is held is
// given back, with what it depends on. The other way round a held backup would take a place in a
// count: holding an old one would make a newer one expire earlier. Only whole branches are left to
// go then, as the way down of each held one is held too.
//
// WAL follows the backups: plan_.archive is how many of them, fulls and diffs counted from the
// newest, keep theirs. Of rules that count in another way (days, for each full) the label is
// remembered (wal_from_) and counted at the end, when it is known what stays.
#include "ops/expire/retention.h"

#include <algorithm>

namespace chronos::ops::expire {
namespace {

using repo::BackupEntry;
using repo::BackupType;

std::string plural(std::uint64_t count, const std::string& noun) {
    return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

bool depends_on(const BackupEntry& backup, const std::string& label) {
    return backup.prior == label || std::find(backup.references.begin(), backup.references.end(),
                                              label) != backup.references.end();
}

class Planner {
public:
    Planner(const std::vector<BackupEntry>& backups, const Retention& retention,
            const std::set<std::string>& held, UnixTime now)
        : backups_(backups),
          retention_(retention),
          floor_(std::max<std::uint64_t>(retention.full_floor, 1)),
          now_(now),
          protected_(protected_backups(backups, held)) {}

    /// As if nothing were held, and then what is held stays: it neither takes the place of another
    /// backup in a count nor drags one along.
    BackupPlan run() {
        full_rule();
        diff_rule();
        incr_rule();
        give_back_protected();
        if (wal_from_) plan_.archive = count_from(*wal_from_);
        if (retention_.archive) plan_.archive = retention_.archive;
        for (const BackupEntry& backup : backups_)
            if (!plan_.expired.contains(backup.label))
                plan_.kept.emplace(backup.label, why_kept(backup));
        return std::move(plan_);
    }

private:
    using List = std::vector<const BackupEntry*>;  // newest first

    /// Those of the types that are still there.
    List living(std::initializer_list<BackupType> types) const {
        List found;
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
            plan_.expired[label] =
                label == backup.label ? reason : "goes with " + backup.label + ": " + reason;
        plan_.sets.emplace_back(kind, std::move(labels));
    }

    /// What a held backup depends on is protected itself, so only whole branches are left to go.
    void give_back_protected() {
        for (const auto& [label, why] : protected_) plan_.expired.erase(label);
        for (auto& [kind, labels] : plan_.sets)
            std::erase_if(labels,
                          [&](const std::string& label) { return protected_.contains(label); });
        std::erase_if(plan_.sets, [](const auto& set) { return set.second.empty(); });
    }

    /// Fulls and diffs that are left, from the label on.
    std::uint64_t count_from(const std::string& label) const {
        const List both = living({BackupType::full, BackupType::diff});
        return static_cast<std::uint64_t>(
            std::count_if(both.begin(), both.end(),
                          [&](const BackupEntry* backup) { return backup->label >= label; }));
    }

    UnixTime limit(std::uint64_t days) const { return now_ - static_cast<UnixTime>(days) * kDay_s; }

    /// How many a rule of days keeps: those that ended within the span and the newest one before,
    /// so that the whole span can be recovered. nullopt if there is none before.
    std::optional<std::size_t> kept_by_days(const List& backups, std::uint64_t days) const {
        for (std::size_t i = 0; i < backups.size(); ++i)
            if (backups[i]->timestamp_stop < limit(days)) return i + 1;
        return std::nullopt;
    }

    /// Oldest first, as they are logged.
    void expire_from(const List& backups, std::size_t first, const std::string& kind,
                     const std::string& reason) {
        for (std::size_t i = backups.size(); i > first; --i) expire(*backups[i - 1], kind, reason);
    }

    static std::string too_old(const std::string& type, std::uint64_t days) {
        return "a newer " + type + " backup is older than " + plural(days, "day") +
               " already (retention-" + type + ")";
    }

    bool archive_follows(BackupType type) const { return retention_.archive_type == type; }

    void full_rule() {
        if (!retention_.full) return;
        const List fulls = living({BackupType::full});
        std::size_t keep = std::max(*retention_.full, floor_);
        if (retention_.full_unit == Unit::count) {
            expire_from(fulls, keep, "full backup",
                        "more than " + plural(keep, "full backup") + " (retention-full)");
        } else {
            const auto within = kept_by_days(fulls, *retention_.full);
            if (!within) return;
            keep = std::max<std::size_t>(*within, floor_);
            expire_from(fulls, keep, "time-based backup", too_old("full", *retention_.full));
            keep = std::min(keep, fulls.size());
        }
        if (archive_follows(BackupType::full)) plan_.archive = keep;
    }

    void diff_rule() {
        if (!retention_.diff) return;
        if (retention_.diff_unit == Unit::days) {
            const List diffs = living({BackupType::diff});
            const auto within = kept_by_days(diffs, *retention_.diff);
            if (!within) return;
            expire_from(diffs, *within, "diff backup", too_old("diff", *retention_.diff));
            wal_from(diffs[*within - 1]->label);
        } else if (retention_.diff_per_full) {
            for (const BackupEntry* full : living({BackupType::full})) diffs_of(*full);
            wal_from("");
        } else {
            // Fulls take places in the count and stay. Source: docs/format/expire.md, Which backups
            // expire, rule 3.
            const List both = living({BackupType::full, BackupType::diff});
            for (std::size_t i = both.size(); i > *retention_.diff; --i)
                if (both[i - 1]->type == BackupType::diff)
                    expire(*both[i - 1], "diff backup",
                           "more than " + plural(*retention_.diff, "diff or full backup") +
                               " (retention-diff)");
            if (archive_follows(BackupType::diff)) plan_.archive = retention_.diff;
        }
    }

    /// Archive retention by diffs that are not counted over all: WAL from the full or diff on.
    void wal_from(const std::string& label) {
        if (archive_follows(BackupType::diff)) wal_from_ = label;
    }

    void diffs_of(const BackupEntry& full) {
        List diffs = living({BackupType::diff});
        std::erase_if(diffs, [&](const BackupEntry* diff) { return diff->prior != full.label; });
        expire_from(diffs, *retention_.diff, "diff backup",
                    "more than " + plural(*retention_.diff, "diff backup") + " of " + full.label +
                        " (retention-diff)");
    }

    /// An incr goes only when nothing that stays is based on it.
    void incr_rule() {
        if (!retention_.incr) return;
        const List incrs = living({BackupType::incr});
        const bool by_count = retention_.incr_unit == Unit::count;
        const std::size_t keep = by_count
                                     ? static_cast<std::size_t>(*retention_.incr)
                                     : kept_by_days(incrs, *retention_.incr).value_or(incrs.size());
        const std::string reason =
            by_count ? "more than " + plural(keep, "incr backup") + " (retention-incr)"
                     : too_old("incr", *retention_.incr);
        for (std::size_t i = keep; i < incrs.size(); ++i)
            if (has_living_dependent(incrs[i]->label))
                plan_.kept[incrs[i]->label] = "newer backups depend on it";
            else
                expire(*incrs[i], "incr backup", reason);
    }

    bool has_living_dependent(const std::string& label) const {
        return std::any_of(backups_.begin(), backups_.end(), [&](const BackupEntry& other) {
            return depends_on(other, label) && !plan_.expired.contains(other.label);
        });
    }

    std::string why_kept(const BackupEntry& backup) const {
        if (const auto at = protected_.find(backup.label); at != protected_.end())
            return at->second;
        const bool ruled = backup.type == BackupType::full   ? retention_.full.has_value()
                           : backup.type == BackupType::diff ? retention_.diff.has_value()
                                                             : retention_.incr.has_value();
        if (ruled) return "within retention";
        return "no retention-" + std::string(repo::backup_type_name(backup.type)) +
               " removes it, nor does what it depends on go";
    }

    const std::vector<BackupEntry>& backups_;
    const Retention& retention_;
    const std::uint64_t floor_;
    const UnixTime now_;
    const std::map<std::string, std::string> protected_;
    std::optional<std::string> wal_from_;
    BackupPlan plan_;
};

}  // namespace

std::vector<std::string> with_dependents(const std::vector<BackupEntry>& backups,
                                         const std::string& label) {
    // A backup sorts behind what it is based on, so one pass sees every chain.
    std::set<std::string> found = {label};
    for (const BackupEntry& backup : backups)
        if (found.contains(backup.prior) || depends_on(backup, label)) found.insert(backup.label);
    return {found.begin(), found.end()};
}

std::map<std::string, std::string> protected_backups(const std::vector<BackupEntry>& backups,
                                                     const std::set<std::string>& held) {
    std::map<std::string, std::string> why;
    // From the newest, so that a chain is followed down to its full backup.
    for (auto at = backups.rbegin(); at != backups.rend(); ++at) {
        if (held.contains(at->label)) why[at->label] = "held";
        if (!why.contains(at->label)) continue;
        const std::string reason = "a held backup depends on it";
        if (!at->prior.empty()) why.emplace(at->prior, reason);
        for (const std::string& reference : at->references) why.emplace(reference, reason);
    }
    return why;
}

BackupPlan plan_backups(const std::vector<BackupEntry>& backups, const Retention& retention,
                        const std::set<std::string>& held, UnixTime now) {
    return Planner(backups, retention, held, now).run();
}

}  // namespace chronos::ops::expire
