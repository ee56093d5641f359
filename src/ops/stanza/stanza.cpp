#include "chronos/ops/stanza/stanza.h"

#include <filesystem>
#include <memory>

#include "chronos/base/log.h"
#include "chronos/repo/local/stanza_memory.h"
#include "chronos/repo/side/lease.h"
#include "chronos/repo/side/mount_hold.h"
#include "chronos/repo/stanza.h"
#include "chronos/storage/parallel.h"

namespace chronos::ops::stanza {
namespace {

void log_outcome(const std::string& stanza, const StanzaOutcome& outcome) {
    const std::string where = "stanza '" + stanza + "' on repo" + std::to_string(outcome.repo_key);
    switch (outcome.state) {
        case repo::StanzaOutcome::created: log_info(where + " created"); break;
        case repo::StanzaOutcome::repaired:
            log_info(where + " completed: an info file was missing");
            break;
        case repo::StanzaOutcome::already_valid:
            log_info("stanza '" + stanza + "' already exists on repo" +
                     std::to_string(outcome.repo_key) + " and is valid");
            break;
        case repo::StanzaOutcome::upgraded: log_info(where + " upgraded"); break;
    }
}

repo::LockRequest lock_request(const StanzaRequest& request, unsigned repo_key) {
    return {request.lock_path, request.stanza, repo::LockType::archive, repo_key, request.exec_id};
}

using Locks = std::vector<std::vector<std::unique_ptr<repo::Lock>>>;

Result<Locks> lock_all(const StanzaRequest& request) {
    Locks locks;
    for (const repo::Repository& repository : request.repositories)
        locks.push_back(CHRONOS_TRY(repo::lock_stanza(lock_request(request, repository.key))));
    return locks;
}

Result<> check_may_be_deleted(const DeleteRequest& request) {
    const std::string& stanza = request.stanza;
    const std::string repo = std::to_string(request.repository.key);
    if (!CHRONOS_TRY(repo::has_stop_file(request.lock_path, stanza)))
        return Error(ErrorKind::not_found, "stop file does not exist for stanza '" + stanza + "'")
            .with_hint("has the pgbackrest stop command been run on this server for this stanza?")
            .with_hint("A stanza is deleted with all its backups and WAL, in two steps:")
            .with_hint("  chronos --stanza=" + stanza + " stop")
            .with_hint("  chronos --stanza=" + stanza + " --repo=" + repo + " stanza-delete");
    std::error_code ignored;
    if (!request.force && std::filesystem::exists(request.pgdata + "/postmaster.pid", ignored))
        return Error(
            ErrorKind::pg_running,
            "postmaster.pid exists - looks like PostgreSQL is running. To delete stanza '" +
                stanza + "' on repo" + repo + ", shut down PostgreSQL for stanza '" + stanza +
                "' and try again, or use --force.");
    const repo::HeldNames held = CHRONOS_TRY(repo::list_held_names(request.repository, stanza));
    const std::string refused = "stanza '" + stanza + "' cannot be deleted: backup ";
    if (!held.labels.empty())
        return Error(ErrorKind::backup_set_invalid, refused + held.labels.front() + " is held")
            .with_hint("Release what is held with: chronos --stanza=" + stanza +
                       " unhold --set=all");
    for (const repo::MountedBackup& one :
         CHRONOS_TRY(repo::find_mounted(request.repository, stanza, held.mounted)))
        return Error(ErrorKind::backup_set_invalid,
                     refused + one.label + " is mounted on '" + one.path + "'")
            .with_hint(repo::how_to_end(one));
    return {};
}

/// Nothing of it is there, or a creation was cut off half way.
Result<bool> is_incomplete(const repo::Repository& repository, const std::string& stanza) {
    storage::Storage& storage = *repository.storage;
    const auto either_exists = [&](const std::string& name) -> Result<bool> {
        if (CHRONOS_TRY(storage::exists(storage, name))) return true;
        return storage::exists(storage, name + ".copy");
    };
    bool archive = false, backup = false;
    CHRONOS_TRY(storage::at_once(
        storage, {storage::answer_into(
                      archive, [&] { return either_exists(repo::archive_info_name(stanza)); }),
                  storage::answer_into(
                      backup, [&] { return either_exists(repo::backup_info_name(stanza)); })}));
    return !archive || !backup;
}

}  // namespace

Result<std::vector<StanzaOutcome>> create_stanza(const StanzaRequest& request,
                                                 const pgdata::ControlFile& cluster) {
    CHRONOS_TRY(repo::check_stop_file(request.lock_path, request.stanza));
    const auto locks = CHRONOS_TRY(lock_all(request));
    const auto identity = repo::ClusterIdentity::of(cluster);
    std::vector<StanzaOutcome> outcomes;
    for (const repo::Repository& repository : request.repositories) {
        const auto lease = CHRONOS_TRY(
            repo::Lease::take(repository, {request.stanza, "stanza-create", request.exec_id}));
        log_info("stanza-create for stanza '" + request.stanza + "' on repo" +
                 std::to_string(repository.key));
        const repo::StanzaOutcome state = CHRONOS_TRY_DOING(
            repo::create_stanza(repository, request.stanza, identity),
            "create stanza '" + request.stanza + "' on repo" + std::to_string(repository.key));
        outcomes.push_back({repository.key, state});
        log_outcome(request.stanza, outcomes.back());
    }
    return outcomes;
}

Result<std::vector<StanzaOutcome>> upgrade_stanza(const StanzaRequest& request,
                                                  const pgdata::ControlFile& cluster) {
    CHRONOS_TRY(repo::check_stop_file(request.lock_path, request.stanza));
    const auto locks = CHRONOS_TRY(lock_all(request));
    const auto identity = repo::ClusterIdentity::of(cluster);
    std::vector<StanzaOutcome> outcomes;
    for (const repo::Repository& repository : request.repositories) {
        const std::string number = std::to_string(repository.key);
        log_info("stanza-upgrade for stanza '" + request.stanza + "' on repo" + number);
        const auto lease = CHRONOS_TRY(
            repo::Lease::take(repository, {request.stanza, "stanza-upgrade", request.exec_id}));
        const repo::StanzaOutcome state =
            CHRONOS_TRY(repo::upgrade_stanza(repository, request.stanza, identity));
        outcomes.push_back({repository.key, state});
        if (state == repo::StanzaOutcome::already_valid)
            log_info("stanza '" + request.stanza + "' on repo" + number + " is already up to date");
        else
            log_outcome(request.stanza, outcomes.back());
    }
    return outcomes;
}

Result<> delete_stanza(const DeleteRequest& request) {
    storage::Storage& storage = *request.repository.storage;
    const bool exists = !CHRONOS_TRY(storage.list(repo::archive_path(request.stanza))).empty() ||
                        !CHRONOS_TRY(storage.list(repo::backup_path(request.stanza))).empty();
    if (exists) CHRONOS_TRY(check_may_be_deleted(request));
    const auto locks =
        CHRONOS_TRY(repo::lock_stanza({request.lock_path, request.stanza, repo::LockType::archive,
                                       request.repository.key, request.exec_id}));
    const auto lease = CHRONOS_TRY(repo::Lease::take(
        request.repository,
        {request.stanza, "stanza-delete", request.exec_id, "", /*only_removes=*/true}));
    CHRONOS_TRY(repo::delete_stanza(request.repository, request.stanza));
    CHRONOS_TRY(repo::remove_stop_file(request.lock_path, request.stanza));
    return {};
}

Result<bool> ensure_stanza(const StanzaRequest& request, const pgdata::ControlFile& cluster) {
    StanzaRequest missing = request;
    missing.repositories.clear();
    const repo::StanzaMemory memory(
        {request.spool_path, request.lock_path, request.stanza, request.pg_path});
    for (const repo::Repository& repository : request.repositories) {
        if (!CHRONOS_TRY(is_incomplete(repository, request.stanza))) continue;
        CHRONOS_TRY(memory.check_first_use(repository, cluster.system_id));
        missing.repositories.push_back(repository);
    }
    if (missing.repositories.empty()) return false;
    // Another first use may be at it right now: the locks decide, and the loser finds a valid
    // stanza when it comes again.
    CHRONOS_TRY(create_stanza(missing, cluster));
    return true;
}

}  // namespace chronos::ops::stanza
