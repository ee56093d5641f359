#include <algorithm>
#include <map>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/side/owner.h"
#include "ops/expire/phases.h"
#include "ops/expire/retention.h"

namespace chronos::ops::expire {
namespace {

using repo::BackupEntry;

void drop(const Scope& scope, const std::map<std::string, std::string>& expired, Decided& decided) {
    for (const auto& [label, reason] : expired) {
        scope.decided(What::backup, true, label, reason);
        decided.verdict.expired.push_back(label);
    }
    std::erase_if(decided.stanza.info.backups,
                  [&](const BackupEntry& backup) { return expired.contains(backup.label); });
    if (!expired.empty()) decided.stanza.info_changed = true;
}

/// The newest full only when an older one of the same cluster could take its place. Source:
/// docs/format/expire.md, Ad hoc.
Result<> check_may_go(const Decided& decided, const BackupEntry& entry) {
    const Stanza& stanza = decided.stanza;
    if (entry.type == repo::BackupType::full) {
        std::vector<const BackupEntry*> fulls;
        for (const BackupEntry& backup : stanza.info.backups)
            if (backup.type == repo::BackupType::full) fulls.push_back(&backup);
        const bool few =
            fulls.size() <= std::max<std::uint64_t>(1, decided.verdict.retention.full_floor);
        const bool newest = fulls.back()->label == entry.label;
        if (few || (newest && fulls[fulls.size() - 2]->history_id != entry.history_id))
            return Error(
                ErrorKind::backup_set_invalid,
                "full backup " + entry.label +
                    " cannot be expired until another full backup has been created on this repo");
    }
    const auto protect = protected_backups(stanza.info.backups, stanza.held);
    if (!protect.contains(entry.label)) return {};
    for (const std::string& each : with_dependents(stanza.info.backups, entry.label))
        if (each == stanza.in_use)
            return Error(ErrorKind::backup_set_invalid,
                         "backup " + entry.label +
                             " cannot be expired: an unfinished backup is"
                             " based on " +
                             each)
                .with_hint("Wait until that is done, or take a backup, which removes it.");
        else if (const auto mounted = stanza.mounted.find(each); mounted != stanza.mounted.end())
            return Error(
                       ErrorKind::backup_set_invalid,
                       "backup " + entry.label + " cannot be expired: " +
                           (each == entry.label ? "it is"
                                                : "backup " + each + ", which depends on it, is") +
                           " mounted on '" + mounted->second.path + "'")
                .with_hint(repo::how_to_end(mounted->second));
        else if (stanza.held.contains(each))
            return Error(ErrorKind::backup_set_invalid,
                         "backup " + entry.label + " cannot be expired: " +
                             (each == entry.label ? "it is held"
                                                  : "held backup " + each + " depends on it"))
                .with_hint("Release it with: chronos unhold --set=" + each);
    return {};
}

Result<> decide_set(const Scope& scope, const std::string& label, Decided& decided) {
    const Retention& retention = decided.verdict.retention;
    // By the rules nothing goes in such a run, but WAL of what went does.
    Retention none;
    none.archive = retention.archive;
    none.archive_type = retention.archive_type;
    if (!none.archive && retention.archive_type == repo::BackupType::full &&
        retention.full_unit == Unit::count)
        none.archive = retention.full;
    if (!none.archive && retention.archive_type == repo::BackupType::diff &&
        retention.diff_unit == Unit::count && !retention.diff_per_full)
        none.archive = retention.diff;
    decided.verdict.archive = none.archive;
    const BackupEntry* entry = decided.stanza.info.find(label);
    if (entry == nullptr) return {};
    decided.verdict.found = true;
    CHRONOS_TRY(check_may_go(decided, *entry));
    const std::vector<std::string> labels = with_dependents(decided.stanza.info.backups, label);
    scope.say("expire adhoc backup " + std::string(labels.size() > 1 ? "set " : "") +
              join(labels, ", "));
    std::map<std::string, std::string> expired;
    for (const std::string& each : labels)
        expired[each] = each == label ? "expired by name" : "depends on " + label;
    for (const BackupEntry& backup : decided.stanza.info.backups)
        if (!expired.contains(backup.label))
            scope.decided(What::backup, false, backup.label, "not part of what was named");
    drop(scope, expired, decided);
    return {};
}

void decide_by_rules(const Scope& scope, Decided& decided) {
    const BackupPlan plan = plan_backups(decided.stanza.info.backups, decided.verdict.retention,
                                         decided.stanza.held, unix_now());
    for (const auto& [kind, labels] : plan.sets)
        scope.say("expire " + kind + " " + (labels.size() > 1 ? "set " : "") + join(labels, ", "));
    decided.verdict.archive = plan.archive;
    for (const auto& [label, reason] : plan.kept) scope.decided(What::backup, false, label, reason);
    drop(scope, plan.expired, decided);
}

/// As if one full backup less were wanted. Source: docs/format/expire.md, Ad hoc.
void decide_oldest(const Scope& scope, Decided& decided) {
    const Stanza& stanza = decided.stanza;
    Retention& retention = decided.verdict.retention;
    const auto protect = protected_backups(stanza.info.backups, stanza.held);
    std::vector<const BackupEntry*> fulls;
    for (const BackupEntry& backup : stanza.info.backups)
        if (backup.type == repo::BackupType::full) fulls.push_back(&backup);
    const bool few = fulls.size() <= std::max<std::uint64_t>(1, retention.full_floor);
    if (few || protect.contains(fulls.front()->label)) {
        log_warn(scope.repo_name() +
                 ": expire oldest requested but no eligible full backup to expire");
        if (!few)
            log_warn(scope.repo_name() + ": the oldest full backup " + fulls.front()->label +
                     " stays: " + protect.at(fulls.front()->label));
    } else {
        retention.full_unit = Unit::count;
        retention.full = fulls.size() - 1;
        retention.archive_type = repo::BackupType::full;
        retention.archive = fulls.size() - 1;
    }
    decide_by_rules(scope, decided);
}

/// A label, "latest", "oldest", or by the rules.
Result<> decide_backups(const Scope& scope, Decided& decided) {
    std::string label = scope.request.set;
    if (label.empty()) {
        if (scope.request.oldest)
            decide_oldest(scope, decided);
        else
            decide_by_rules(scope, decided);
        return {};
    }
    if (label == "latest" || label == "oldest") {
        if (decided.stanza.info.backups.empty()) return {};
        label = label == "latest" ? decided.stanza.info.backups.back().label
                                  : decided.stanza.info.backups.front().label;
    }
    return decide_set(scope, label, decided);
}

/// What a copy of the data directory thinks to be its own is the original's.
Result<> check_owner(const Scope& scope, const Stanza& stanza) {
    if (scope.request.dry_run || scope.request.pg_path.empty()) return {};
    const auto self = repo::identify_server(scope.request.pg_path);
    if (!self || self->system_id != stanza.archive_info.current().system_id) return {};
    auto used = repo::StanzaOwner(scope.repository(), scope.request.stanza)
                    .use(*self, repo::StanzaUse::change);
    // Nobody has refused it: the record is only not renewed.
    if (!used && used.error().no_space()) return {};
    return used;
}

}  // namespace

Result<Decided> decide(const Scope& scope, Loaded&& loaded) {
    Decided decided{std::move(loaded.stanza), {}};
    decided.verdict.retention = scope.target.retention;
    CHRONOS_TRY(decide_backups(scope, decided));
    CHRONOS_TRY(check_owner(scope, decided.stanza));
    return decided;
}

}  // namespace chronos::ops::expire
