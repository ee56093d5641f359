#include "chronos/base/log.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/wal_archive.h"
#include "ops/expire/phases.h"
#include "ops/expire/wal.h"

namespace chronos::ops::expire {
namespace {

void say_why_wal_stays(const Scope& scope, const Retention& retention) {
    if (retention.full_unit == Unit::days)
        scope.say("time-based archive retention not met - archive logs will not be expired");
    else
        log_info("option '" + scope.repo_name() +
                 "-retention-archive' is not set - archive logs will not be expired");
}

/// Of one archive id what its plan does not keep.
class WalRemoval {
public:
    WalRemoval(const Scope& scope, const Stanza& stanza, std::string id, WalPlan plan)
        : scope_(scope), stanza_(stanza), id_(std::move(id)), plan_(std::move(plan)) {}

    /// Once.
    Result<> run();

private:
    Result<> remove_notes(const std::string& before);
    Result<> expire_wal_directory(const std::string& directory);
    void gone(std::string_view name);
    void report_run();
    Result<> expire_timeline_history(const std::vector<storage::Entry>& entries);

    const Scope& scope_;
    const Stanza& stanza_;
    const std::string id_;
    const WalPlan plan_;
    std::size_t removed_ = 0;
    std::string first_gone_;  ///< of a run not reported yet
    std::string last_gone_;
};

Result<> WalRemoval::run() {
    const std::vector<storage::Entry> entries =
        CHRONOS_TRY(scope_.storage().list(scope_.archive_dir(id_)));
    if (entries.empty()) return {};
    if (plan_.action == WalPlan::Action::nothing) {
        scope_.decided(What::wal, false, id_, plan_.reason);
        return {};
    }
    if (plan_.action == WalPlan::Action::remove_whole) {
        scope_.say("remove archive path " + scope_.storage().describe(scope_.archive_dir(id_)));
        scope_.decided(What::wal, true, id_, plan_.reason);
        if (scope_.request.dry_run) return {};
        CHRONOS_TRY(scope_.storage().remove_tree(scope_.archive_dir(id_)));
        return remove_notes("");
    }
    for (const KeepRange& range : plan_.keep) {
        log_detail(scope_.repo_name() + ": " + id_ + " archive retention on backup " + range.owner +
                   ", start = " + range.first + (range.last ? ", stop = " + *range.last : ""));
        scope_.decided(What::wal, false, id_ + "/" + range.first + ".." + range.last.value_or(""),
                       (range.last ? "needed by " : "continuous WAL from ") + range.owner);
    }
    for (const storage::Entry& each : entries) {
        if (each.type != storage::EntryType::path || !repo::is_wal_directory(each.name)) continue;
        CHRONOS_TRY(scope_.cancel.check());
        CHRONOS_TRY(expire_wal_directory(each.name));
    }
    report_run();
    if (removed_ == 0) scope_.say(id_ + " no archive to remove");
    if (!scope_.request.dry_run) CHRONOS_TRY(remove_notes(plan_.keep.front().first));
    return expire_timeline_history(entries);
}

/// What is noted beside the archive about WAL that is gone.
Result<> WalRemoval::remove_notes(const std::string& before) {
    return repo::remove_wal_notes(scope_.repository(), scope_.request.stanza, id_, before,
                                  stanza_.archive_info.cipher_pass);
}

/// Segments, or directories of them, that go one after the other are reported as one run.
void WalRemoval::gone(std::string_view name) {
    last_gone_ = name;
    if (first_gone_.empty()) first_gone_ = name;
    ++removed_;
}

void WalRemoval::report_run() {
    if (first_gone_.empty()) return;
    scope_.say(id_ + " remove archive, start = " + first_gone_ + ", stop = " + last_gone_);
    scope_.decided(What::wal, true,
                   id_ + "/" + first_gone_ + (first_gone_ == last_gone_ ? "" : ".." + last_gone_),
                   plan_.reason);
    first_gone_.clear();
}

Result<> WalRemoval::expire_wal_directory(const std::string& directory) {
    const std::string path = scope_.archive_dir(id_) + "/" + directory;
    if (directory_outside(plan_, directory)) {
        log_detail(scope_.repo_name() + ": " + id_ + " remove archive path " + directory);
        gone(directory);
        CHRONOS_TRY(stanza_.go_on(scope_.cancel));
        return scope_.request.dry_run ? Result<>() : scope_.storage().remove_tree(path);
    }
    if (directory > repo::wal_directory(plan_.retention_start)) return {};
    CHRONOS_TRY(stanza_.go_on(scope_.cancel));
    for (const storage::Entry& file : CHRONOS_TRY(scope_.storage().list(path))) {
        if (!file_outside(plan_, file.name)) {
            report_run();
            continue;
        }
        gone(std::string_view(file.name).substr(0, pgdata::kWalSegmentNameSize));
        if (!scope_.request.dry_run) CHRONOS_TRY(scope_.storage().remove(path + "/" + file.name));
    }
    return {};
}

Result<> WalRemoval::expire_timeline_history(const std::vector<storage::Entry>& entries) {
    for (const storage::Entry& file : entries) {
        if (!pgdata::is_timeline_history(file.name) ||
            file.name.substr(0, plan_.history_start.size()) >= plan_.history_start)
            continue;
        scope_.say(id_ + " remove history file " + file.name);
        scope_.decided(What::timeline_history, true, id_ + "/" + file.name,
                       "of a timeline before that of continuous WAL");
        if (!scope_.request.dry_run)
            CHRONOS_TRY(scope_.storage().remove(scope_.archive_dir(id_) + "/" + file.name));
    }
    return {};
}

}  // namespace

Result<> remove_wal(const Scope& scope, const Stanza& stanza, const Verdict& verdict) {
    if (!verdict.archive) say_why_wal_stays(scope, verdict.retention);
    const WalRetention wanted{verdict.retention.archive_type, verdict.archive,
                              scope.request.archive_expire_before};
    for (const repo::HistoryEntry& entry : stanza.archive_info.history) {
        CHRONOS_TRY(stanza.go_on(scope.cancel));
        const bool current = entry.id == stanza.archive_info.current_id;
        CHRONOS_TRY(WalRemoval(scope, stanza, entry.archive_id(),
                               plan_wal(stanza.info.backups, entry, current, wanted, stanza.held))
                        .run());
    }
    return {};
}

}  // namespace chronos::ops::expire
