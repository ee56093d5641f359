#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/repo/side/verify_result.h"
#include "chronos/repo/stanza.h"
#include "chronos/storage/parallel.h"
#include "ops/verify/backups.h"
#include "ops/verify/continuity.h"
#include "ops/verify/info_files.h"
#include "ops/verify/ledger.h"
#include "ops/verify/wal.h"

namespace chronos::ops::verify {
namespace {

bool is_set(const std::string& set) {
    return set == "latest" || set == "oldest" || set == "latest-full" || repo::is_backup_label(set);
}

/// The backup that a set means; nullptr if there is none.
const repo::BackupEntry* find_set(const repo::BackupInfo& info, const std::string& set) {
    if (info.backups.empty()) return nullptr;
    if (set == "latest") return &info.backups.back();
    if (set == "oldest") return &info.backups.front();
    if (set != "latest-full") return info.find(set);
    const auto full =
        std::find_if(info.backups.rbegin(), info.backups.rend(),
                     [](const auto& entry) { return entry.type == repo::BackupType::full; });
    return full == info.backups.rend() ? nullptr : &*full;
}

/// Labels of the backups that were asked for, and of those that they depend on.
struct Chosen {
    std::set<std::string> labels;
    std::set<std::string> with_references;
    std::vector<std::string> missing;  ///< sets
};

Chosen choose(const std::vector<std::string>& sets, const repo::BackupInfo& info) {
    Chosen chosen;
    for (const std::string& set : sets) {
        const repo::BackupEntry* entry = find_set(info, set);
        if (entry == nullptr) {
            chosen.missing.push_back(set);
            continue;
        }
        chosen.labels.insert(entry->label);
        chosen.with_references.insert(entry->label);
        chosen.with_references.insert(entry->references.begin(), entry->references.end());
    }
    return chosen;
}

class RepositoryRun {
public:
    RepositoryRun(const VerifyRequest& request, const repo::Repository& repository,
                  const ProgressReceiver& progress, const Cancellation& cancel)
        : request_(request),
          direct_(repository),
          findings_(repository.key),
          meter_(progress, cancel, request.bytes_per_second_max),
          budget_(storage::kBytesInFlightMax),
          scope_{request, direct_, repository, findings_, meter_, cancel, budget_} {
        scope_.repository.storage = make_metered(repository.storage, meter_);
        result_.repo_key = repository.key;
    }

    Result<> run(VerifyResult& result) {
        const UnixTime started = unix_now();
        Result<> done = verify();
        if (!done && is_fatal(done.error())) {
            save_unfinished(done.error(), findings_.take());
            return done;
        }
        if (!done)
            findings_.fail({"", ""}, Problem::other, done.error().message(),
                           "the repository was not verified to its end" +
                               (done.error().hint().empty() ? "" : ". " + done.error().hint()));
        result_.bytes_read = meter_.bytes_read();
        result_.objects_read = meter_.objects_read();
        result_.objects_known = meter_.objects_known();
        auto found = findings_.take();
        if (!done && done.error().kind() == ErrorKind::crypto)
            for (VerifyFinding& finding : found) finding.closed = true;
        if (done)
            save_summary(started, found);
        else
            save_unfinished(done.error(), without_end(found, done.error()));
        result.findings.insert(result.findings.end(), found.begin(), found.end());
        result.repositories.push_back(std::move(result_));
        return {};
    }

    const std::vector<std::string>& missing() const { return missing_; }

private:
    static bool is_fatal(const Error& error) {
        return error.kind() == ErrorKind::cancelled || error.kind() == ErrorKind::memory ||
               error.kind() == ErrorKind::internal;
    }

    Result<> verify() {
        meter_.enter("info");
        auto files = CHRONOS_TRY(verify_info_files(scope_));
        if (!files) return {};
        backup_pass_ = files->backup.cipher_pass;
        const bool everything = request_.sets.empty();
        const Chosen chosen = choose(request_.sets, files->backup);
        missing_ = chosen.missing;
        if (!everything && chosen.labels.empty()) return {};
        VerifiedBackups backups = CHRONOS_TRY(
            verify_backups(scope_, files->backup, everything ? nullptr : &chosen.with_references));
        for (WalNeed& need : backups.needs)
            need.wanted = need.wanted && (everything || chosen.labels.contains(need.label));
        const WalRead wal = CHRONOS_TRY(verify_wal(
            scope_, files->archive, files->backup.cipher_pass, backups.needs, everything));
        CHRONOS_TRY(forget_expired(backups));
        meter_.enter("continuity");
        std::set<std::string> unusable;
        for (const WalArchive& archive : wal.archives)
            unusable.merge(
                CHRONOS_TRY(check_continuity(scope_, archive, backups.needs, everything)));
        for (VerifiedBackup& backup : backups.backups)
            if (unusable.contains(backup.label)) backup.verdict = BackupVerdict::invalid;
        if (everything) drop_old_ledgers(backups);
        result_.archives = wal.counts;
        result_.backups = std::move(backups.backups);
        return {};
    }

    /// Where there is nothing of it, its file system may not be mounted: nothing is written there.
    bool there() const {
        const auto there = repo::has_stanza(direct_, request_.stanza);
        return there && *there;
    }

    /// That a run came to no end is no damage of what it looked at.
    static std::vector<VerifyFinding> without_end(std::vector<VerifyFinding> found,
                                                  const Error& error) {
        std::erase_if(found, [&](const VerifyFinding& finding) {
            return finding.where.empty() && finding.file.empty() &&
                   finding.message == error.message();
        });
        return found;
    }

    /// Of backups that are gone. What cannot be removed now is removed by another run.
    void drop_old_ledgers(const VerifiedBackups& backups) {
        const std::string path = ledger_path(request_.stanza) + "/backup";
        const auto entries = direct_.storage->list(path);
        if (!entries) return;
        for (const storage::Entry& entry : *entries) {
            const bool wanted = std::ranges::find(backups.backups, entry.name,
                                                  &VerifiedBackup::label) != backups.backups.end();
            if (wanted || !repo::is_backup_label(entry.name)) continue;
            const auto removed = direct_.storage->remove(path + "/" + entry.name);
            if (!removed) log_detail(removed.error().message());
        }
    }

    /// An expire that ran meanwhile took backups and WAL away: that is no damage.
    Result<> forget_expired(VerifiedBackups& backups) {
        const auto now = CHRONOS_TRY(repo::load_backup_info(scope_.repository, scope_.stanza()));
        std::set<std::string> expired;
        for (const WalNeed& need : backups.needs) {
            if (now.find(need.label) != nullptr) continue;
            const std::string path = repo::backup_path(scope_.stanza(), need.label);
            if (!CHRONOS_TRY(storage::exists(*direct_.storage, path + "/backup.manifest")))
                expired.insert(need.label);
        }
        const auto is_expired = [&](const auto& item) { return expired.contains(item.label); };
        std::erase_if(backups.needs, is_expired);
        std::erase_if(backups.backups, is_expired);
        for (const std::string& label : expired) findings_.drop(label);
        return {};
    }

    struct Count {
        std::uint64_t failures = 0;
        std::uint64_t notes = 0;
        std::string first_failure;
    };

    static Count count(const std::vector<VerifyFinding>& found) {
        Count count;
        for (const VerifyFinding& finding : found) {
            const bool failure = finding.status == FindingStatus::failure;
            (failure ? count.failures : count.notes) += 1;
            if (!failure || !count.first_failure.empty()) continue;
            for (const std::string& part : {finding.where, finding.file})
                if (!part.empty()) count.first_failure += part + ": ";
            count.first_failure += finding.message;
        }
        return count;
    }

    /// Of a run over everything: without it the last result would be taken for how things are. Who
    /// stops a run has no need to be told. Without the passphrase nothing can be written that its
    /// readers take; they cannot read the repository either.
    void save_unfinished(const Error& error, const std::vector<VerifyFinding>& found) {
        const bool closed = direct_.cipher != crypto::CipherType::none && backup_pass_.empty();
        if (error.kind() == ErrorKind::cancelled || !request_.sets.empty() || closed || !there())
            return;
        const Count counted = count(found);
        const auto saved = repo::save_unfinished_verify(direct_, request_.stanza,
                                                        {.finished = unix_now(),
                                                         .reason = error.message(),
                                                         .failures = counted.failures,
                                                         .first_failure = counted.first_failure},
                                                        backup_pass_);
        if (!saved)
            log_detail("that it is unfinished is not written down: " + saved.error().message());
    }

    void save_summary(UnixTime started, const std::vector<VerifyFinding>& found) {
        if (!request_.sets.empty() || !there()) return;
        const Count counted = count(found);
        repo::VerifySummary summary;
        summary.started = started;
        summary.finished = unix_now();
        summary.full = request_.full;
        summary.failures = counted.failures;
        summary.notes = counted.notes;
        summary.first_failure = counted.first_failure;
        summary.backups = result_.backups.size();
        for (const VerifiedArchive& archive : result_.archives)
            summary.wal_segments += archive.wal.total;
        summary.bytes_read = result_.bytes_read;
        const auto saved =
            repo::save_verify_summary(direct_, request_.stanza, summary, backup_pass_);
        if (!saved) log_detail("the result is not written down: " + saved.error().message());
    }

    const VerifyRequest& request_;
    const repo::Repository& direct_;
    Findings findings_;
    Meter meter_;
    io::ByteBudget budget_;
    Scope scope_;
    std::string backup_pass_;
    std::vector<std::string> missing_;  ///< sets that the repository does not have
    VerifiedRepository result_;
};

}  // namespace

Result<VerifyResult> run_verify(const VerifyRequest& request, const ProgressReceiver& progress,
                                const Cancellation& cancel) {
    for (const std::string& set : request.sets)
        if (!is_set(set))
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(set) + "' is not a valid backup label format")
                .with_hint("A label, latest, oldest or latest-full; several with commas.");
    VerifyResult result;
    std::map<std::string, std::size_t> missing;
    for (const repo::Repository& repository : request.repositories) {
        RepositoryRun run(request, repository, progress, cancel);
        CHRONOS_TRY(run.run(result));
        for (const std::string& set : run.missing()) ++missing[set];
    }
    for (const auto& [set, count] : missing)
        if (count == request.repositories.size())
            result.findings.push_back({request.repositories.front().key, FindingStatus::failure,
                                       Problem::missing, set, "", "there is no such backup",
                                       "it cannot be restored"});
    return result;
}

}  // namespace chronos::ops::verify
