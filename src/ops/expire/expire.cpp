#include "chronos/ops/expire/expire.h"

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/local/lock.h"
#include "ops/expire/phases.h"

namespace chronos::ops::expire {

void Scope::say(const std::string& text) const {
    log_info(repo_name() + ": " + text);
}

void Scope::decided(What what, bool removed, std::string name, std::string reason) const {
    decisions.push_back({repository().key, what, removed, std::move(name), std::move(reason)});
}

Result<> Stanza::go_on(const Cancellation& cancel) const {
    CHRONOS_TRY(cancel.check());
    return lease ? lease->prove() : Result<>();
}

namespace {

Result<> check_request(const ExpireRequest& request) {
    const std::string& set = request.set;
    if (!set.empty() && set != "latest" && set != "oldest" && !repo::is_backup_label(set))
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(set) + "' is not a valid backup label format");
    if (!set.empty() && request.oldest)
        return Error(ErrorKind::option_invalid, "option 'set' not valid with option 'oldest'");
    const std::string& before = request.archive_expire_before;
    if (!before.empty() && !pgdata::is_wal_segment(before))
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(before) +
                         "' is not a valid WAL segment name for option '--archive-expire-before'");
    return {};
}

Result<std::vector<std::unique_ptr<repo::Lock>>> take_locks(const ExpireRequest& request) {
    std::vector<std::unique_ptr<repo::Lock>> locks;
    for (const unsigned key : request.lock_keys)
        for (const repo::LockType type : {repo::LockType::backup, repo::LockType::hold})
            locks.push_back(CHRONOS_TRY(repo::Lock::acquire(
                {request.lock_path, request.stanza, type, key, request.exec_id})));
    return locks;
}

/// Whether the backup asked for by name is in the repository.
Result<bool> expire_one(const Scope& scope) {
    Loaded loaded = CHRONOS_TRY(load(scope));
    Decided decided = CHRONOS_TRY(decide(scope, std::move(loaded)));
    Unlisted unlisted = CHRONOS_TRY(unlist(scope, std::move(decided)));
    Removed removed = CHRONOS_TRY(remove_data(scope, std::move(unlisted)));
    return finish(scope, std::move(removed));
}

}  // namespace

std::string_view what_name(Decision::What what) {
    switch (what) {
        case What::backup: return "backup";
        case What::directory: return "directory";
        case What::wal: return "wal";
        case What::timeline_history: return "timeline-history";
        case What::history_manifest: return "history-manifest";
    }
    return "";
}

Result<ExpireOutcome> run_expire(const ExpireRequest& request, const Cancellation& cancel) {
    CHRONOS_TRY(check_request(request));
    CHRONOS_TRY(repo::check_stop_file(request.lock_path, request.stanza));
    std::vector<std::unique_ptr<repo::Lock>> locks;
    // A dry run changes nothing and may look while another command works.
    if (!request.dry_run) locks = CHRONOS_TRY(take_locks(request));
    ExpireOutcome outcome;
    bool found = false;
    for (const ExpireRepository& repository : request.repositories) {
        const Result<bool> done = expire_one({request, repository, outcome.decisions, cancel});
        if (!done && done.error().kind() == ErrorKind::cancelled) return done.error();
        if (!done) outcome.failures.emplace_back(repository.repository.key, done.error());
        found = found || (done && *done);
    }
    if (!request.set.empty() && !found && outcome.failures.empty())
        log_warn("backup " + request.set +
                 " does not exist\nHINT: run the info command and confirm the backup is listed");
    return outcome;
}

}  // namespace chronos::ops::expire
