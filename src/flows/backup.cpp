#include "chronos/flows/backup.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/local/stanza_memory.h"

namespace chronos::flows {
namespace {

using ops::backup::BackupResult;

Result<bool> ensure_stanza(const BackupRequest& request, const repo::Repository& repository) {
    ops::stanza::StanzaRequest stanza = request.stanza;
    stanza.repositories = {repository};
    return ops::stanza::ensure_stanza(stanza, request.control);
}

void ensure_others(const BackupRequest& request) {
    for (const auto& [key, repository] : request.others) {
        const Result<bool> ensured =
            repository ? ensure_stanza(request, *repository) : repository.error();
        if (!ensured) log_warn("repo" + std::to_string(key) + ": " + ensured.error().text());
    }
}

/// Creates the stanza where it is missing: there, and in the others.
Result<ops::backup::BackupRequest> prepare(const BackupRequest& request,
                                           const BackupTarget& target) {
    if (!target.request || request.only_repository) return target.request;
    CHRONOS_TRY(ensure_stanza(request, target.request->repository));
    ensure_others(request);
    return target.request;
}

/// Whether the backup found no stanza, and there is one now.
Result<bool> stanza_was_missing(const BackupRequest& request,
                                const ops::backup::BackupRequest& backup,
                                const Result<BackupResult>& result) {
    if (result || result.error().kind() != ErrorKind::not_found || !request.only_repository)
        return false;
    return ensure_stanza(request, backup.repository);
}

constexpr std::string_view kHasWalStatus =
    "SELECT (pg_catalog.to_regclass('chronos.wal_status') IS NOT NULL)::text";
// Only what has not been overcome since is a reason.
constexpr std::string_view kArchivingError =
    "SELECT last_error_wal, last_error, coalesce(last_error_hint, '') FROM chronos.wal_status"
    " WHERE lag_segments > 0 AND last_error IS NOT NULL"
    " AND last_error_at > coalesce(last_archived_at, '-infinity')";

/// WAL that did not arrive: why, if the server's module knows.
Error with_archiving_error(Error error, db::Connection* connection) {
    if (connection == nullptr || error.kind() != ErrorKind::archive_timeout) return error;
    const auto there = connection->query(kHasWalStatus);
    if (!there || there->size() != 1 || (*there)[0].size() != 1 || (*there)[0][0] != "true")
        return error;
    const auto rows = connection->query(kArchivingError);
    if (!rows || rows->size() != 1 || (*rows)[0].size() != 3) return error;
    const db::Row& row = (*rows)[0];
    // First: a job's hint has room for some lines only.
    Error known = Error(error.kind(), error.message())
                      .with_hint("The archiver fails with " + row[0].value_or("") + ": " +
                                 one_line(row[1].value_or("")));
    const std::string hint = row[2].value_or("");
    if (!hint.empty()) known = std::move(known).with_hint(one_line(hint));
    return std::move(known).with_hint(error.hint());
}

/// process-max is for all of them together.
void share_processors(std::vector<ops::backup::BackupRequest>& requests) {
    for (ops::backup::BackupRequest& request : requests) {
        request.lock_keys = {request.repository.key};
        request.process_max = std::max<std::size_t>(1, request.process_max / requests.size());
    }
}

Result<std::vector<std::pair<unsigned, Error>>> expire(const BackupRequest& request, unsigned key,
                                                       const Cancellation& cancel) {
    if (!request.expire) return std::vector<std::pair<unsigned, Error>>();
    const ops::expire::ExpireRequest expiring = CHRONOS_TRY(request.expire(key));
    return CHRONOS_TRY(ops::expire::run_expire(expiring, cancel)).failures;
}

}  // namespace

Result<std::vector<BackupOutcome>> run_backup(const BackupRequest& request,
                                              db::Connection* connection,
                                              const ProgressReceiver& progress,
                                              const Cancellation& cancel) {
    std::vector<BackupOutcome> outcomes;
    std::vector<std::size_t> begun;  // their places in `outcomes`
    std::vector<ops::backup::BackupRequest> backups;
    for (const BackupTarget& target : request.targets) {
        auto backup = prepare(request, target);
        outcomes.push_back({target.key,
                            backup ? Error(ErrorKind::internal, "not begun") : backup.error(),
                            std::vector<std::pair<unsigned, Error>>()});
        if (!backup) continue;
        begun.push_back(outcomes.size() - 1);
        backups.push_back(*std::move(backup));
    }
    if (request.targets.size() > 1) share_processors(backups);
    const auto run = [&] {
        return ops::backup::run_backups(backups, connection, progress, cancel);
    };
    auto results = run();
    if (results.size() == 1 &&
        CHRONOS_TRY(stanza_was_missing(request, backups.front(), results.front())))
        results = run();
    const ops::stanza::StanzaRequest& stanza = request.stanza;
    const repo::StanzaMemory memory(
        {stanza.spool_path, stanza.lock_path, stanza.stanza, stanza.pg_path});
    for (std::size_t i = 0; i < results.size(); ++i) {
        if (results[i])
            memory.remember(backups[i].repository, request.control.system_id);
        else
            results[i] = with_archiving_error(results[i].error(), connection);
        outcomes[begun[i]].result = std::move(results[i]);
    }
    for (BackupOutcome& outcome : outcomes)
        if (outcome.result) outcome.expire_failures = expire(request, outcome.key, cancel);
    return outcomes;
}

}  // namespace chronos::flows
