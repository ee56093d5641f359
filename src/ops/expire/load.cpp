#include <algorithm>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/side/hold.h"
#include "chronos/repo/side/mount_hold.h"
#include "chronos/storage/parallel.h"
#include "ops/expire/phases.h"

namespace chronos::ops::expire {
namespace {

void warn_of_unset_retention(const Scope& scope) {
    const Retention& retention = scope.target.retention;
    const auto warn_unset = [&](const std::string& option, const std::string& of,
                                const std::string& what, const std::string& consequence) {
        log_warn("option '" + option + "' is not set for '" + of + "'" + consequence +
                 "\nHINT: to retain " + what +
                 " backups indefinitely (without warning), set option '" + option +
                 "' to the maximum.");
    };
    const std::string begin = scope.repo_name() + "-retention-";
    const std::string type =
        "archive-type=" + std::string(repo::backup_type_name(retention.archive_type));
    const bool by_count = retention.full_unit == Unit::count;
    if (!retention.full)
        warn_unset(begin + "full", begin + "full-type=" + (by_count ? "count" : "time"), "full",
                   ", the repository may run out of space");
    if (retention.archive_type == repo::BackupType::full) return;
    const std::string no_wal =
        "WAL segments will not be expired: option '" + begin + type + "' but ";
    const bool by_diff = retention.archive_type == repo::BackupType::diff;
    if (retention.archive && by_diff && !retention.diff)
        warn_unset(begin + "diff", begin + type, "differential", "");
    else if (!retention.archive && by_diff && !retention.diff)
        log_warn(no_wal + "neither option '" + begin + "archive' nor option '" + begin +
                 "diff' is set");
    else if (!retention.archive && !by_diff)
        log_warn(no_wal + "option '" + begin + "archive' is not set");
}

/// pgBackRest on another host may be making a backup, of which only its directory is seen from
/// here: what that is based on stays until it is done, or has been given up for long.
Result<> protect_prior_in_use(const Scope& scope, Stanza& stanza) {
    if (stanza.directories.empty()) return {};
    const std::string& newest = stanza.directories.back();
    if (stanza.info.find(newest) != nullptr || stanza.complete.contains(newest)) return {};
    const auto partial = CHRONOS_TRY(scope.storage().info(scope.manifest_name(newest) + ".copy"));
    if (!partial || unix_now() - partial->modified > kDay_s) return {};
    const auto manifest = repo::load_manifest(scope.repository(), scope.request.stanza, newest,
                                              stanza.info.cipher_pass);
    if (!manifest || manifest->prior.empty() || stanza.info.find(manifest->prior) == nullptr)
        return {};
    stanza.in_use = manifest->prior;
    stanza.held.insert(stanza.in_use);
    scope.say("backup " + stanza.in_use + " stays: unfinished backup " + newest +
              " is based on it");
    return {};
}

Result<std::optional<std::string>> read_if_there(storage::Storage& storage,
                                                 const std::string& name) {
    auto content = storage::read_object(storage, name);
    if (content) return std::optional(*std::move(content));
    // What is no file is none of that name, and written anew where that can be.
    if (content.error().kind() == ErrorKind::not_found ||
        content.error().kind() == ErrorKind::format)
        return std::optional<std::string>();
    return std::move(content).error();
}

/// Killed between the two, an earlier run has left a copy that lists what is gone.
Result<bool> copies_agree(const Scope& scope) {
    const std::string name = repo::backup_info_name(scope.request.stanza);
    std::optional<std::string> main, copy;
    CHRONOS_TRY(storage::at_once(
        scope.storage(),
        {storage::answer_into(main, [&] { return read_if_there(scope.storage(), name); }),
         storage::answer_into(copy,
                              [&] { return read_if_there(scope.storage(), name + ".copy"); })}));
    return main && copy && *main == *copy;
}

Result<> load_holds(const Scope& scope, Stanza& stanza) {
    for (const repo::Hold& hold : CHRONOS_TRY(
             repo::list_holds(scope.repository(), scope.request.stanza, stanza.info.cipher_pass))) {
        stanza.held.insert(hold.label);
        if (stanza.info.find(hold.label) == nullptr)
            log_warn(scope.repo_name() + ": held backup " + hold.label +
                     " is not in the repository any more\nHINT: pgBackRest's own expire does not "
                     "know holds. Use chronos unhold --set=" +
                     hold.label + " to forget it.");
    }
    return {};
}

Result<> load_mounted(const Scope& scope, const std::vector<storage::Entry>& names,
                      Stanza& stanza) {
    for (const repo::MountedBackup& one :
         CHRONOS_TRY(repo::find_mounted(scope.repository(), scope.request.stanza, names))) {
        stanza.held.insert(one.label);
        stanza.mounted[one.label] = one;
    }
    return {};
}

Result<> check_histories(const Scope& scope, const Stanza& stanza) {
    for (const repo::HistoryEntry& entry : stanza.archive_info.history) {
        const bool in_both =
            std::any_of(stanza.info.history.begin(), stanza.info.history.end(),
                        [&](const repo::HistoryEntry& other) {
                            return other.id == entry.id && other.same_cluster(entry);
                        });
        if (!in_both)
            return Error(ErrorKind::format,
                         "archive expiration cannot continue - archive and backup history lists do "
                         "not match")
                .with_hint(repo::repair_hint(scope.request.stanza));
    }
    return {};
}

}  // namespace

Result<Loaded> load(const Scope& scope) {
    warn_of_unset_retention(scope);
    Loaded loaded;
    Stanza& stanza = loaded.stanza;
    // Of a host that does not share our lock files. Whoever only looks takes none.
    if (!scope.request.dry_run)
        stanza.lease = CHRONOS_TRY(repo::Lease::take(
            scope.repository(),
            {scope.request.stanza, "expire", scope.request.exec_id, "", /*only_removes=*/true}));
    repo::ReconstructedInfo known;
    bool agree = false;
    repo::HeldNames held;
    CHRONOS_TRY(storage::at_once(
        scope.storage(),
        {storage::answer_into(known,
                              [&] {
                                  return repo::load_backup_info_reconstructed(scope.repository(),
                                                                              scope.request.stanza);
                              }),
         storage::answer_into(
             held, [&] { return repo::list_held_names(scope.repository(), scope.request.stanza); }),
         storage::answer_into(agree, [&] { return copies_agree(scope); }),
         storage::answer_into(stanza.archive_info, [&] {
             return repo::load_archive_info(scope.repository(), scope.request.stanza);
         })}));
    stanza.info = std::move(known.info);
    stanza.info_changed = known.changed || !agree;
    if (!stanza.info.backups.empty()) stanza.former_latest = stanza.info.backups.back().label;
    stanza.directories = std::move(known.labels);
    stanza.complete = std::move(known.complete);
    std::erase_if(stanza.complete,
                  [&](const std::string& label) { return stanza.info.find(label) != nullptr; });
    CHRONOS_TRY(check_histories(scope, stanza));
    CHRONOS_TRY(protect_prior_in_use(scope, stanza));
    if (!held.labels.empty()) CHRONOS_TRY(load_holds(scope, stanza));
    CHRONOS_TRY(load_mounted(scope, held.mounted, stanza));
    return loaded;
}

}  // namespace chronos::ops::expire
