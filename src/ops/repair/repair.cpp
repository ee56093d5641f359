#include "chronos/ops/repair/repair.h"

#include <algorithm>
#include <ctime>
#include <memory>

#include "chronos/base/clock.h"
#include "chronos/base/text.h"
#include "chronos/crypto/cipher.h"
#include "chronos/repo/side/lease.h"
#include "chronos/repo/timelines.h"
#include "ops/repair/archives.h"
#include "ops/repair/backups.h"
#include "ops/repair/history.h"
#include "ops/repair/info_files.h"
#include "ops/repair/plan.h"

namespace chronos::ops::repair {
namespace {

std::string aside_path(const std::string& stanza) {
    const std::time_t now = unix_now();
    std::tm parts{};
    gmtime_r(&now, &parts);
    char time[32];
    time[std::strftime(time, sizeof time, "%Y%m%dT%H%M%SZ", &parts)] = '\0';
    return "chronos/" + stanza + "/aside/" + time;
}

std::string count_of(std::size_t count, const std::string& what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// "a, b and c", for a sentence.
std::string list_text(const std::vector<std::string>& labels) {
    constexpr std::size_t kShown = 5;
    std::vector<std::string> shown(labels.begin(),
                                   labels.begin() + std::min(labels.size(), kShown));
    return join(shown, ", ") + (labels.size() > kShown
                                    ? " and " + std::to_string(labels.size() - kShown) + " more"
                                    : "");
}

class Run {
public:
    Run(const RepairRequest& request, const Cancellation& cancel)
        : request_(request),
          cancel_(cancel),
          place_{request.repository, *request.repository.storage, request.stanza,
                 aside_path(request.stanza)} {}

    Result<std::vector<Step>> go() {
        std::vector<std::unique_ptr<repo::Lock>> locks;
        std::unique_ptr<repo::Lease> lease;
        if (request_.force)
            locks = CHRONOS_TRY(repo::lock_stanza({.lock_path = request_.lock_path,
                                                   .stanza = request_.stanza,
                                                   .repo_key = request_.repository.key,
                                                   .exec_id = request_.exec_id}));
        if (request_.force)
            lease = CHRONOS_TRY(repo::Lease::take(request_.repository,
                                                  {request_.stanza, "repair", request_.exec_id}));
        // Each adds what it finds to the plan; later ones use what earlier ones have found out.
        using Rule = Result<> (Run::*)();
        constexpr Rule kRules[] = {&Run::look,           &Run::judge_keys,    &Run::judge_manifests,
                                   &Run::judge_history,  &Run::judge_archive, &Run::judge_listing,
                                   &Run::judge_timelines};
        for (const Rule rule : kRules) {
            CHRONOS_TRY(cancel_.check());
            CHRONOS_TRY((this->*rule)());
        }
        if (request_.force) CHRONOS_TRY(plan_.carry_out(lease.get(), cancel_));
        return std::move(plan_).steps();
    }

private:
    Result<> look();
    Result<> judge_keys();
    Result<> judge_manifests();
    Result<> judge_history();
    Result<> judge_archive();
    Result<> judge_listing();
    Result<> judge_timelines();
    bool encrypted() const { return request_.repository.encrypted(); }
    Error nothing_there() const;
    std::string last_writer() const;

    const RepairRequest& request_;
    const Cancellation& cancel_;
    const Place place_;
    Plan plan_;
    FoundInfos infos_;
    std::vector<FoundArchive> archives_;
    std::vector<std::string> labels_;
    bool archive_key_lost_ = false;  ///< of WAL that is there
    bool backup_key_lost_ = false;   ///< of backups that are there
    std::string backup_pass_;
    std::map<std::string, FoundBackup> backups_;
    KnownHistory history_;
};

/// The release that has written the stanza, as far as that is still to be seen.
std::string Run::last_writer() const {
    if (infos_.backup.info) return infos_.backup.info->backrest_version;
    if (infos_.archive.info) return infos_.archive.info->backrest_version;
    for (auto backup = backups_.rbegin(); backup != backups_.rend(); ++backup)
        if (backup->second.entry) return backup->second.entry->backrest_version;
    return std::string(repo::kFormatVersion);
}

Error Run::nothing_there() const {
    return Error(ErrorKind::not_found, "there is nothing of stanza '" + request_.stanza +
                                           "' in repo" + std::to_string(request_.repository.key))
        .with_hint("stanza-create makes a new one.");
}

Result<> Run::look() {
    infos_ = CHRONOS_TRY(find_infos(place_));
    labels_ = CHRONOS_TRY(repo::list_backup_labels(request_.repository, request_.stanza));
    const bool read_headers = !encrypted() && !infos_.archive.info && !infos_.backup.info;
    archives_ = CHRONOS_TRY(find_archive_ids(place_, read_headers));
    const bool nothing =
        infos_.archive.missing() && infos_.backup.missing() && labels_.empty() && archives_.empty();
    return nothing ? Result<>(nothing_there()) : Result<>();
}

/// The keys of WAL and of backups stand in the info files alone, and cannot be invented.
Result<> Run::judge_keys() {
    const auto lost = [&](const std::string& name, const std::string& wrong, const char* what) {
        plan_.cannot({name, wrong,
                      "the passphrase of all " + std::string(what) +
                          " stood in this file and its copy alone, and without it nobody can read "
                          "them: put back any older copy of the file, from a snapshot or version "
                          "of the storage (of a bucket: --repo-target-time), however old, because "
                          "it never changes; then run this command again",
                      State::cannot});
    };
    const bool has_wal = std::ranges::any_of(archives_, &FoundArchive::has_wal);
    archive_key_lost_ = encrypted() && !infos_.archive.info && has_wal;
    backup_key_lost_ = encrypted() && !infos_.backup.info && !labels_.empty();
    if (archive_key_lost_) lost(infos_.archive.name, what_is_wrong(infos_.archive), "WAL");
    if (backup_key_lost_) lost(infos_.backup.name, what_is_wrong(infos_.backup), "backups");
    if (infos_.backup.info) backup_pass_ = infos_.backup.info->cipher_pass;
    return {};
}

Result<> Run::judge_manifests() {
    if (backup_key_lost_) return {};
    const repo::BackupInfo* listed = infos_.backup.info ? &*infos_.backup.info : nullptr;
    backups_ = CHRONOS_TRY(find_backups({place_, backup_pass_, listed, cancel_}, plan_));
    return {};
}

Result<> Run::judge_history() {
    history_ = known_history({infos_, backups_, archives_, request_.cluster});
    for (const std::string& id : history_.unknown)
        plan_.cannot(
            {repo::archive_path(request_.stanza) + "/" + id,
             "is in no info file, and none of its first segments says whose it is",
             "left where it is; set pg1-path to the data directory of its cluster, or move "
             "it aside by hand",
             State::cannot});
    if (!infos_.archive.info || !infos_.backup.info) return {};
    const auto same = [](const repo::HistoryEntry& a, const repo::HistoryEntry& b) {
        return a.id == b.id && a.same_cluster(b);
    };
    const repo::ArchiveInfo& archive = *infos_.archive.info;
    const repo::BackupInfo& backup = *infos_.backup.info;
    if (std::ranges::equal(archive.history, backup.history, same) &&
        archive.current_id == backup.current_id)
        return {};
    plan_.cannot({infos_.backup.name, "has another history of clusters than archive.info",
                  "left as it is: an upgrade that was cut off is completed by stanza-upgrade; "
                  "otherwise one of the two comes from another time or stanza, and an older copy "
                  "of it has to be put back",
                  State::cannot});
    return {};
}

Result<> Run::judge_archive() {
    if (infos_.archive.info) {
        mend_pair(place_, infos_.archive, plan_);
        return {};
    }
    if (archive_key_lost_ || history_.entries.empty()) return {};
    repo::ArchiveInfo info;
    info.backrest_version = last_writer();
    info.current_id = history_.current_id;
    info.history = history_.entries;
    // These stand in backup.info only.
    for (repo::HistoryEntry& entry : info.history)
        entry.catalog_version = entry.control_version = 0;
    if (encrypted()) info.cipher_pass = crypto::generate_passphrase();
    const std::string from = infos_.backup.info ? "backup.info"
                             : backups_.empty() ? "the headers of WAL segments"
                                                : "the manifests and the headers of WAL segments";
    rewrite(place_, infos_.archive, std::move(info), what_is_wrong(infos_.archive),
            "rebuilt from " + from + ": " + count_of(history_.entries.size(), "archive id"), plan_);
    return {};
}

Result<> Run::judge_listing() {
    if (backup_key_lost_ || history_.entries.empty()) return {};
    const bool readable = infos_.backup.info.has_value();
    const repo::BackupInfo* listed = readable ? &*infos_.backup.info : nullptr;
    repo::BackupInfo info = readable ? *infos_.backup.info : repo::BackupInfo{};
    const Clusters clusters{
        readable ? infos_.backup.info->history : history_.entries,
        infos_.archive.info ? infos_.archive.info->history : std::vector<repo::HistoryEntry>()};
    Remaining remaining =
        judge_backups({place_, backup_pass_, listed, cancel_}, backups_, clusters, plan_);
    const std::size_t count = remaining.entries.size();
    info.backups = std::move(remaining.entries);
    if (readable) {
        std::vector<std::string> wrong;
        if (!remaining.dropped.empty())
            wrong.push_back("lists " + list_text(remaining.dropped) + " that cannot be restored");
        if (!remaining.added.empty())
            wrong.push_back("does not list " + list_text(remaining.added));
        if (!remaining.corrected.empty())
            wrong.push_back("does not agree with the manifest of " +
                            list_text(remaining.corrected));
        if (wrong.empty())
            mend_pair(place_, infos_.backup, plan_);
        else
            rewrite(place_, infos_.backup, std::move(info), join(wrong, "; "),
                    "written anew from the manifests: " + count_of(count, "backup"), plan_);
        return {};
    }
    info.backrest_version = last_writer();
    info.history = history_.entries;
    info.current_id = history_.current_id;
    if (encrypted()) info.cipher_pass = crypto::generate_passphrase();
    rewrite(place_, infos_.backup, std::move(info), what_is_wrong(infos_.backup),
            "rebuilt from the manifests: " + count_of(count, "backup") +
                " (annotations that were changed after a backup are lost)",
            plan_);
    return {};
}

/// Where timelines were left. A later history file contains all that one before it said.
Result<> Run::judge_timelines() {
    if (archive_key_lost_) return {};
    const std::string pass = infos_.archive.info ? infos_.archive.info->cipher_pass : "";
    for (const FoundArchive& archive : archives_)
        for (const repo::LostHistory& lost : CHRONOS_TRY(repo::find_lost_histories(
                 request_.repository, request_.stanza, archive.id, pass))) {
            const bool told = lost.way.told_by != 0;
            const std::string wrong = printable(lost.wrong, 300);
            if (told && lost.doubt.empty()) {
                const std::string remedy = "put together from the history of timeline " +
                                           std::to_string(lost.way.told_by) + ", which contains it";
                plan_.add(Plan::Stage::timelines, {lost.object, wrong, remedy},
                          [this, lost, pass]() -> Result<> {
                              if (lost.damaged) CHRONOS_TRY(keep_aside(place_, lost.object));
                              return repo::mend_history(request_.repository, lost, pass);
                          });
                continue;
            }
            plan_.cannot({lost.object, wrong,
                          (told ? lost.doubt + ", so that nobody can say which one is right"
                                : std::string("no later history contains it")) +
                              ": push it again with archive-push, from pg_wal of a server that was "
                              "on that timeline",
                          State::cannot});
        }
    return {};
}

}  // namespace

std::string_view state_name(State state) {
    switch (state) {
        case State::to_do: return "to do";
        case State::done: return "done";
        case State::cannot: return "cannot";
    }
    return "cannot";
}

Result<std::vector<Step>> repair(const RepairRequest& request, const Cancellation& cancel) {
    return Run(request, cancel).go();
}

}  // namespace chronos::ops::repair
