#include <algorithm>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/manifest_store.h"
#include "ops/expire/phases.h"

namespace chronos::ops::expire {
namespace {

constexpr std::size_t kYearSize = 4;
constexpr std::string_view kHistoryManifest = ".manifest.gz";

/// Newest first: a backup never stands complete on one that is gone. The copy goes before the main
/// file, so that what is left at any moment is a complete backup or none, never what looks like an
/// unfinished one.
Result<> remove_manifests(const Scope& scope, const Decided& decided) {
    const std::vector<std::string>& expired = decided.verdict.expired;
    if (scope.request.dry_run || expired.empty()) return {};
    for (auto label = expired.rbegin(); label != expired.rend(); ++label) {
        CHRONOS_TRY(decided.stanza.go_on(scope.cancel));
        CHRONOS_TRY(scope.storage().remove(scope.manifest_name(*label) + ".copy"));
        CHRONOS_TRY(scope.storage().remove(scope.manifest_name(*label)));
    }
    return {};
}

void warn_of_expired_latest(const Scope& scope, const Stanza& stanza) {
    const std::string option = "'" + scope.repo_name() + "-retention-archive'";
    const std::string type = "'" + scope.repo_name() + "-retention-archive-type'";
    log_warn(scope.repo_name() + ": expiring latest backup " + stanza.former_latest +
             " - the ability to perform point-in-time-recovery (PITR) may be affected\nHINT: "
             "non-default settings for " +
             option + "/" + type + " (even in prior expires) can cause gaps in the WAL.");
}

/// Of a directory that is not listed: whether somebody works on it, or can go on with it. Only the
/// newest can be resumed, and not when what it is based on is gone.
Result<bool> is_underway(const Scope& scope, const Unlisted& unlisted, const std::string& label,
                         bool newest) {
    const Stanza& stanza = unlisted.stanza;
    const std::vector<std::string>& expired = unlisted.verdict.expired;
    if (std::binary_search(expired.begin(), expired.end(), label)) return false;
    // Neither listed nor to be listed, and it was so before.
    if (stanza.complete.contains(label)) return false;
    // Completed while we worked: somebody does not share our lock path.
    if (CHRONOS_TRY(storage::exists(scope.storage(), scope.manifest_name(label)))) return true;
    if (!newest ||
        !CHRONOS_TRY(storage::exists(scope.storage(), scope.manifest_name(label) + ".copy")))
        return false;
    const auto manifest = repo::load_manifest(scope.repository(), scope.request.stanza, label,
                                              stanza.info.cipher_pass);
    return !manifest || manifest->prior.empty() || stanza.info.find(manifest->prior) != nullptr;
}

/// Every directory with the name of a backup that is not listed goes, so that what an earlier run
/// or a failed backup left behind goes too.
Result<> remove_directories(const Scope& scope, const Unlisted& unlisted) {
    const Stanza& stanza = unlisted.stanza;
    const std::vector<std::string>& expired = unlisted.verdict.expired;
    for (auto label = stanza.directories.rbegin(); label != stanza.directories.rend(); ++label) {
        if (stanza.info.find(*label) != nullptr) continue;
        CHRONOS_TRY(stanza.go_on(scope.cancel));
        if (CHRONOS_TRY(
                is_underway(scope, unlisted, *label, label == stanza.directories.rbegin()))) {
            scope.decided(What::directory, false, *label,
                          "unfinished: being made, or to be resumed");
            continue;
        }
        scope.say("remove expired backup " + *label);
        if (!std::binary_search(expired.begin(), expired.end(), *label))
            scope.decided(What::directory, true, *label, "left behind: not a listed backup");
        if (!scope.request.dry_run)
            CHRONOS_TRY(
                scope.storage().remove_tree(repo::backup_path(scope.request.stanza, *label)));
    }
    return {};
}

Result<> expire_history_year(const Scope& scope, const Stanza& stanza, const std::string& year,
                             const std::string& cutoff) {
    const std::string path = scope.backup_dir() + "/backup.history/" + year;
    const std::vector<storage::Entry> files = CHRONOS_TRY(scope.storage().list(path));
    std::vector<std::string> old;
    for (const storage::Entry& file : files) {
        const std::string label =
            file.name.ends_with(kHistoryManifest)
                ? file.name.substr(0, file.name.size() - kHistoryManifest.size())
                : "";
        if (repo::is_backup_label(label) && label < cutoff && stanza.info.find(label) == nullptr)
            old.push_back(file.name);
    }
    if (old.size() == files.size() && year < cutoff.substr(0, kYearSize)) {
        scope.say("remove expired backup history path " + year);
        scope.decided(What::history_manifest, true, year, "older than history retention");
        return scope.request.dry_run ? Result<>() : scope.storage().remove_tree(path);
    }
    for (auto file = old.rbegin(); file != old.rend(); ++file) {
        CHRONOS_TRY(scope.cancel.check());
        scope.say("remove expired backup history manifest " + *file);
        scope.decided(What::history_manifest, true, *file, "older than history retention");
        if (!scope.request.dry_run) CHRONOS_TRY(scope.storage().remove(path + "/" + *file));
    }
    return {};
}

/// Manifests of backups long gone. Source: docs/format/expire.md, History.
Result<> expire_history(const Scope& scope, const Removed& removed) {
    const Retention& retention = removed.verdict.retention;
    if (!retention.history_days) return {};
    const std::string cutoff =
        format_label_time(unix_now() - static_cast<UnixTime>(*retention.history_days) * kDay_s) +
        "F";
    for (const storage::Entry& year :
         CHRONOS_TRY(scope.storage().list(scope.backup_dir() + "/backup.history")))
        if (year.name.size() == kYearSize && parse_uint(year.name) &&
            year.name <= cutoff.substr(0, kYearSize))
            CHRONOS_TRY(expire_history_year(scope, removed.stanza, year.name, cutoff));
    return {};
}

/// Writes backup.info, if it has changed, and points `latest` to the last backup that is left.
Result<> write_info(const Scope& scope, const Stanza& stanza) {
    if (stanza.info_changed) {
        CHRONOS_TRY(stanza.go_on(scope.cancel));
        CHRONOS_TRY(repo::save_backup_info(scope.repository(), scope.request.stanza, stanza.info));
    }
    const std::string latest = stanza.latest();
    if (scope.target.symlink && latest != stanza.former_latest && !latest.empty())
        CHRONOS_TRY(scope.storage().make_link(scope.backup_dir() + "/latest", latest));
    return {};
}

}  // namespace

Result<Unlisted> unlist(const Scope& scope, Decided&& decided) {
    CHRONOS_TRY(remove_manifests(scope, decided));
    const Stanza& stanza = decided.stanza;
    if (stanza.latest() != stanza.former_latest) warn_of_expired_latest(scope, stanza);
    bool info_due = false;
    if (!scope.request.dry_run) {
        // On a full repository that has to wait until something is gone: without a manifest a
        // backup is none, whatever is listed.
        const auto written = write_info(scope, stanza);
        info_due = !written && written.error().no_space();
        if (!written && !info_due) return written.error();
        // After a loss of power a manifest must not come back whose data did not: it would be taken
        // for a backup that is missing in backup.info.
        if (!decided.verdict.expired.empty())
            CHRONOS_TRY(scope.storage().sync_tree(scope.backup_dir()));
    }
    return Unlisted{std::move(decided.stanza), std::move(decided.verdict), info_due};
}

Result<Removed> remove_data(const Scope& scope, Unlisted&& unlisted) {
    CHRONOS_TRY(remove_directories(scope, unlisted));
    CHRONOS_TRY(remove_wal(scope, unlisted.stanza, unlisted.verdict));
    return Removed{std::move(unlisted.stanza), std::move(unlisted.verdict), unlisted.info_due};
}

Result<bool> finish(const Scope& scope, Removed&& removed) {
    if (removed.info_due) CHRONOS_TRY(write_info(scope, removed.stanza));
    CHRONOS_TRY(expire_history(scope, removed));
    return removed.verdict.found;
}

}  // namespace chronos::ops::expire
