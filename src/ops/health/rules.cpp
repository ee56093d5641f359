#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "chronos/base/text.h"
#include "chronos/ops/health/health.h"
#include "ops/health/ahead.h"

namespace chronos::ops::health {
namespace {

using std::chrono::seconds;

std::string count_of(std::uint64_t number, const char* what) {
    return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

std::string repo_name(const RepositoryFacts& repository) {
    return "repo" + std::to_string(repository.key);
}

double to_number(std::uint64_t value) {
    return static_cast<double>(value);
}

/// What every rule may look at.
struct View {
    const Snapshot& snapshot;
    const ServerFacts* server;
    const Limits& limits;
    UnixTime now;
};

Rule unknown(const char* name, std::string message) {
    Rule rule;
    rule.name = name;
    rule.message = std::move(message);
    return rule;
}

Rule without_server(const char* name) {
    return unknown(name, "nothing is known of the server");
}

Rule found(const char* name, RuleState state, std::string message) {
    Rule rule = unknown(name, std::move(message));
    rule.state = state;
    return rule;
}

/// A duration that should not exceed a limit; 0: there is none.
Rule duration_rule(const char* name, std::int64_t value, seconds limit, RuleState if_over,
                   const std::string& what) {
    Rule rule = found(name, RuleState::ok, what + " " + format_duration(value));
    rule.value = format_duration(value);
    rule.number = static_cast<double>(value);
    if (limit.count() == 0) return rule;
    rule.threshold = format_duration(limit.count());
    if (value > limit.count()) {
        rule.state = if_over;
        rule.message += ", more than " + rule.threshold;
    }
    return rule;
}

/// The way out of the first problem that has one.
std::string hint_about_reading(const View& view) {
    for (const RepositoryFacts& repository : view.snapshot.repositories)
        if (!repository.way_out.empty()) return repository.way_out;
    return "Run `chronos check` on the host of the server: it names the permission or setting.";
}

Rule repo_unreachable(const View& view) {
    std::string problems;
    std::set<unsigned> failed_in;
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        if (repository.problem.empty()) continue;
        failed_in.insert(repository.key);
        problems += (problems.empty() ? "" : "; ") + repo_name(repository) + " (" +
                    repository.place + "): " + repository.problem;
    }
    const std::size_t all = view.snapshot.repositories.size();
    const std::size_t failed = failed_in.size();
    Rule rule = found("repo_unreachable", RuleState::ok,
                      all == 1 ? "the repository can be read" : "all repositories can be read");
    rule.value = std::to_string(failed);
    rule.number = to_number(failed);
    rule.found_in = std::move(failed_in);
    if (failed == 0) return rule;
    // What is left still restores, but one failure further nothing would.
    rule.state = failed == all ? RuleState::critical : RuleState::warning;
    rule.message = problems;
    rule.hint = hint_about_reading(view);
    return rule;
}

bool any_readable(const View& view) {
    return std::any_of(view.snapshot.repositories.begin(), view.snapshot.repositories.end(),
                       [](const RepositoryFacts& one) { return one.status != StatusCode::other; });
}

constexpr const char* kNothingRead = "no repository can be read";

/// Whether there is anything to judge: a stanza that is not there has no WAL without gaps.
bool any_read(const View& view) {
    return std::any_of(view.snapshot.repositories.begin(), view.snapshot.repositories.end(),
                       [](const RepositoryFacts& one) { return one.problem.empty(); });
}

Rule nothing_read(const View& view, const char* name) {
    Rule rule = unknown(name, kNothingRead);
    rule.hint = hint_about_reading(view);
    return rule;
}

std::string describe(const std::string& version, std::uint64_t system_id) {
    return "version " + version + ", system-id " + std::to_string(system_id);
}

bool is_foreign(const View& view, const RepositoryFacts& repository) {
    return view.server != nullptr && is_of_another_cluster(repository, *view.server);
}

std::string foreign_text(const View& view, const RepositoryFacts& repository) {
    const repo::HistoryEntry& cluster = *repository.cluster();
    return "in " + repo_name(repository) + " the stanza is of another cluster (" +
           describe(cluster.version, cluster.system_id) + ") than this server (" +
           describe(view.server->version, view.server->system_id) + ")";
}

constexpr const char* kForeignHint =
    "If this cluster has taken the place of the other one, as after pg_upgrade: chronos"
    " stanza-upgrade, and a full backup. If the stanza is not its own: another name for it, and"
    " chronos stanza-create. If the info files are those of another repository: chronos repair.";

/// A rule that found nothing has not found it in repositories that cannot be asked about this
/// server. With `one_suffices` it is ok as long as one can.
void doubt(const View& view, bool one_suffices, Rule& rule) {
    if (rule.state != RuleState::ok) return;
    std::size_t silent = 0;
    std::string why;
    bool foreign = false;
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        const bool is_other = is_foreign(view, repository);
        if (repository.problem.empty() && !is_other) continue;
        ++silent;
        foreign = foreign || is_other;
        why += (why.empty() ? "" : "; ") +
               (is_other ? foreign_text(view, repository)
                         : repo_name(repository) + " cannot be read: " + repository.problem);
    }
    if (silent == 0 || (one_suffices && silent < view.snapshot.repositories.size())) return;
    rule.state = RuleState::unknown;
    rule.message = "cannot be told: " + why;
    rule.hint = foreign ? kForeignHint : hint_about_reading(view);
}

/// Of what a clock that is ahead has dated nobody can tell how long ago it was.
std::string in_the_future(const std::string& what, UnixTime time, UnixTime now) {
    return what + " " + format_duration(time - now) + " in the future: a clock was set";
}

void warn_of_clock(Rule& rule, const std::string& what, UnixTime time, UnixTime now) {
    rule.state = std::max(rule.state, RuleState::warning);
    rule.message = in_the_future(what, time, now);
}

RepositoryFinding judge_age(const View& view, const RepositoryFacts& repository) {
    const seconds limit = view.limits.backup_age;
    const UnixTime now = view.now;
    RepositoryFinding finding{repository.key, RuleState::ok, {}};
    const repo::BackupEntry* newest = latest_backup_of(repository);
    const repo::BackupEntry* latest = latest_restorable_of(repository);
    if (is_foreign(view, repository)) {
        finding.state = RuleState::critical;
        finding.message = "there is no backup of this server: " + foreign_text(view, repository);
        return finding;
    }
    if (latest == nullptr && newest != nullptr) {
        finding.state = RuleState::critical;
        finding.message = "there is no backup without page errors, the last is " + newest->label;
        return finding;
    }
    if (latest == nullptr) {
        finding.state = RuleState::critical;
        finding.message = "there is no backup";
        if (!repository.backups.empty())
            finding.message += " of the present cluster, only of former ones";
        if (!repository.problem.empty()) finding.message += " to be seen: " + repository.problem;
        return finding;
    }
    const std::int64_t age = now - latest->timestamp_stop;
    if (is_ahead(latest->timestamp_stop, now)) {
        finding.state = RuleState::warning;
        finding.message = in_the_future("the last backup, " + latest->label + ", ended",
                                        latest->timestamp_stop, now);
        return finding;
    }
    finding.message = std::string("age of the last backup") +
                      (latest == newest ? "" : " without page errors") + ", " + latest->label +
                      ", is " + format_duration(std::max<std::int64_t>(0, age));
    if (limit.count() == 0 || age <= limit.count()) return finding;
    finding.state = RuleState::critical;
    finding.message += ", more than " + format_duration(limit.count());
    return finding;
}

constexpr const char* kPageErrorsHint =
    "The pages are damaged in the cluster itself: `chronos info --set=<label>` names the files. "
    "Mend"
    " them, or take them from an older backup, before that one expires; then take a backup. A"
    " restore takes the older one with --set, or this one as it is with --no-checksum-page-error.";

/// `newest` is the one of all repositories, whatever is in it.
std::string hint_about_age(const std::vector<RepositoryFinding>& findings,
                           const repo::BackupEntry* newest) {
    if (newest != nullptr && has_page_errors(*newest)) return kPageErrorsHint;
    if (newest == nullptr)
        return "Take one: chronos backup --type=full, or SELECT chronos.backup_now('full').";
    return findings.size() == 1
               ? "Look for failed jobs in chronos.jobs, or at the schedule that takes backups."
               : "Look for failed jobs in chronos.jobs, and whether backup-repos or a schedule of "
                 "its own has each repository.";
}

/// WAL without a backup restores nothing: each repository has to have a new enough one of its own.
Rule backup_age(const View& view) {
    constexpr const char* kName = "backup_age";
    if (!any_readable(view)) return nothing_read(view, kName);
    Rule rule = found(kName, RuleState::ok, "");
    std::size_t bad = 0;
    bool foreign = false;
    std::string all, problems;
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        if (repository.status == StatusCode::other) continue;
        foreign = foreign || is_foreign(view, repository);
        const RepositoryFinding finding = judge_age(view, repository);
        const std::string text =
            (view.snapshot.repositories.size() > 1 ? repo_name(repository) + ": " : std::string()) +
            finding.message;
        all += (all.empty() ? "" : "; ") + text;
        if (finding.state == RuleState::critical) ++bad;
        if (finding.state != RuleState::ok) {
            problems += (problems.empty() ? "" : "; ") + text;
            rule.found_in.insert(repository.key);
        }
        rule.state = std::max(rule.state, finding.state);
        const repo::BackupEntry* latest = latest_restorable_of(repository);
        if (latest != nullptr && !is_foreign(view, repository)) {
            const auto age = std::max<std::int64_t>(0, view.now - latest->timestamp_stop);
            if (!rule.number || static_cast<double>(age) > *rule.number) {
                rule.number = static_cast<double>(age);
                rule.value = format_duration(age);
            }
        }
        rule.repositories.push_back(finding);
    }
    // What is left still restores, but one failure further nothing would.
    if (bad > 0 && bad < rule.repositories.size()) rule.state = RuleState::warning;
    if (view.limits.backup_age->count() > 0)
        rule.threshold = format_duration(view.limits.backup_age->count());
    rule.message = problems.empty() ? all : problems;
    if (rule.state != RuleState::ok)
        rule.hint = foreign ? kForeignHint
                            : hint_about_age(rule.repositories, view.snapshot.latest_backup());
    return rule;
}

/// A backup of damaged pages is complete, and no restore takes it unless it is told to.
Rule page_errors(const View& view) {
    constexpr const char* kName = "page_errors";
    if (!any_read(view)) return nothing_read(view, kName);
    Rule rule = found(kName, RuleState::ok, "the last backup has no page errors");
    bool any_restorable = false;
    std::string problems;
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        if (!repository.problem.empty() || is_foreign(view, repository)) continue;
        const repo::BackupEntry* newest = latest_backup_of(repository);
        const repo::BackupEntry* restorable = latest_restorable_of(repository);
        any_restorable = any_restorable || restorable != nullptr;
        RepositoryFinding finding{repository.key, RuleState::ok, "no page errors"};
        if (newest != nullptr && has_page_errors(*newest)) {
            finding.state = restorable == nullptr ? RuleState::critical : RuleState::warning;
            finding.message =
                "the last backup in " + repo_name(repository) + ", " + newest->label +
                ", has pages whose checksums are wrong: no restore takes it by default; " +
                (restorable == nullptr ? "there is none without"
                                       : "the last one without is " + restorable->label);
            problems += (problems.empty() ? "" : "; ") + finding.message;
            rule.found_in.insert(repository.key);
            rule.begun = std::max(rule.begun, newest->timestamp_stop);
        }
        rule.repositories.push_back(std::move(finding));
    }
    rule.number = to_number(rule.found_in.size());
    rule.value = std::to_string(rule.found_in.size());
    if (problems.empty()) return rule;
    rule.state = any_restorable ? RuleState::warning : RuleState::critical;
    rule.message = problems;
    rule.hint = kPageErrorsHint;
    return rule;
}

Rule backup_duration(const View& view) {
    constexpr const char* kName = "backup_duration";
    const repo::BackupEntry* latest = view.snapshot.latest_backup();
    if (latest == nullptr) return unknown(kName, "there is no backup to look at");
    Rule rule = duration_rule(kName, latest->timestamp_stop - latest->timestamp_start,
                              view.limits.backup_duration, RuleState::warning,
                              "duration of the last backup, " + latest->label + ", was");
    if (rule.state != RuleState::ok)
        rule.hint = "More workers (process-max) or a faster compression shorten it.";
    return rule;
}

Rule backup_failed(const View& view) {
    constexpr const char* kName = "backup_failed";
    if (view.server == nullptr) return without_server(kName);
    const std::optional<JobFacts>& job = view.server->last_backup_job;
    if (!job) return found(kName, RuleState::ok, "no backup job has ended yet");
    Rule rule =
        found(kName, RuleState::ok,
              "the last job (" + std::to_string(job->id) + ", " + job->type + ") " + job->state);
    rule.value = job->state;
    if (job->state != "failed" && job->error.empty()) return rule;
    if (job->state != "failed") {
        rule.state = RuleState::warning;
        rule.message += ", but " + printable(job->error);
        rule.hint = "The backup is there; what is left undone the next one does, if it can.";
        return rule;
    }
    rule.state = RuleState::critical;
    rule.begun = job->finished_at;
    rule.message += ": " + printable(job->error);
    rule.hint =
        "chronos.jobs has the error and its hint; the next backup that succeeds clears this.";
    return rule;
}

/// A run that came to no end says nothing of what it did not reach, and the one before it, which
/// did, nothing of today. What it found before its end is as bad as ever.
void judge_unfinished(const View& view, const RepositoryFacts& repository, Rule& rule) {
    const UnfinishedVerifyFacts& last = *repository.unfinished_verify;
    const UnixTime since = repository.verify ? repository.verify->finished_at : last.since;
    const std::int64_t limit = view.limits.verify_age->count();
    const bool too_long = limit > 0 && view.now - since > limit;
    const std::string text =
        "the last verify of " + repo_name(repository) + ", at " +
        format_local_time(last.finished_at) +
        ", could not come to its end: " + printable(last.reason) +
        (last.problems == 0 ? ""
                            : "; it had found " + count_of(last.problems, "problem") +
                                  ", the first: " + printable(last.message));
    const RuleState state =
        too_long || last.problems > 0 ? RuleState::critical : RuleState::warning;
    rule.message = rule.state <= RuleState::unknown ? text : rule.message + "; " + text;
    rule.state = std::max(rule.state, state);
    rule.begun = rule.begun == 0 ? last.since : std::min(rule.begun, last.since);
    rule.found_in.insert(repository.key);
    if (rule.hint.empty())
        rule.hint =
            "Run `chronos verify` once that is mended: one that comes to its end clears this.";
}

Rule verified(const View& view) {
    constexpr const char* kName = "verify";
    const std::optional<VerifyFacts>& facts = view.snapshot.verify;
    if (!facts && !any_read(view)) return nothing_read(view, kName);
    if (!facts) return unknown(kName, "the repository has not been verified");
    Rule rule = duration_rule(kName, std::max<std::int64_t>(0, view.now - facts->finished_at),
                              view.limits.verify_age, RuleState::warning,
                              "nothing wrong was found; time since the last verify is");
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        if (!repository.verify || !is_ahead(repository.verify->finished_at, view.now)) continue;
        rule.found_in.insert(repository.key);
        warn_of_clock(rule, "the last verify of " + repo_name(repository) + " ended",
                      repository.verify->finished_at, view.now);
        rule.hint = "The next verify clears this.";
    }
    if (facts->problems == 0) return rule;
    for (const RepositoryFacts& repository : view.snapshot.repositories)
        if (repository.verify && repository.verify->problems > 0)
            rule.found_in.insert(repository.key);
    rule.state = RuleState::critical;
    rule.begun = facts->finished_at;
    rule.message = "the last verify found " + count_of(facts->problems, "problem") +
                   (facts->message.empty() ? "" : ", the first: " + printable(facts->message));
    rule.hint = "Run `chronos verify` to see them; take a full backup before anything expires.";
    return rule;
}

Rule verify(const View& view) {
    Rule rule = verified(view);
    for (const RepositoryFacts& repository : view.snapshot.repositories)
        if (repository.unfinished_verify) judge_unfinished(view, repository, rule);
    return rule;
}

Rule wal_lag(const View& view) {
    constexpr const char* kName = "wal_lag";
    if (view.server == nullptr) return without_server(kName);
    const ServerFacts& server = *view.server;
    if (server.archive_mode == "off") {
        Rule rule = found(kName, RuleState::critical, "archive_mode is off: no WAL is archived");
        rule.hint = "Set archive_mode = on and restart the server.";
        return rule;
    }
    const std::int64_t waiting =
        server.oldest_ready == 0 ? 0 : std::max<std::int64_t>(0, server.at - server.oldest_ready);
    Rule rule = duration_rule(kName, waiting, view.limits.wal_lag, RuleState::critical,
                              count_of(server.ready_segments, "WAL file") + " waiting since");
    if (server.ready_segments == 0) rule.message = "no WAL file is waiting";
    if (is_ahead(server.oldest_ready, server.at))
        warn_of_clock(rule, count_of(server.ready_segments, "WAL file") + " waiting since",
                      server.oldest_ready, server.at);
    // Files are archived in the order of their names; of a clock that was ahead only those tell.
    const bool failed_last = is_ahead(server.last_archived_at, server.at)
                                 ? server.last_failed_wal > server.last_archived_wal
                                 : server.last_failed_at > server.last_archived_at;
    const bool failing = failed_last && server.ready_segments > 0;
    if (!failing) return rule;
    rule.state = std::max(rule.state, RuleState::warning);
    rule.message += "; the archiver fails with " + server.last_failed_wal;
    rule.hint = "The server log has the reason: look for \"chronos:\".";
    return rule;
}

/// What is wrong with the WAL of a recovery window, and what to do.
struct Loss {
    RuleState state = RuleState::ok;
    std::string message;
    std::string hint;
};

Loss loss_of(const LostTimeline& lost, const RepositoryFacts& repository,
             const std::string& stanza) {
    const std::string timeline = "timeline " + std::to_string(lost.timeline);
    const std::string what = repo_name(repository) + " misses the history of " + timeline;
    if (lost.told_by != 0)
        return {RuleState::warning,
                what + ", which is known from that of timeline " + std::to_string(lost.told_by) +
                    " only",
                "'chronos --stanza=" + stanza + " repair --force' puts it back."};
    return {RuleState::critical,
            what + ": no backup of an older timeline leads to its WAL, from " + lost.first + " on",
            "Push the history again with archive-push, from pg_wal of a server that was on " +
                timeline + ". " +
                (lost.next_backup.empty()
                     ? "If none has it, what happened on it cannot be recovered: take a backup now."
                     : "If none has it, moments on it before backup " + lost.next_backup +
                           " are lost; later ones can be reached.")};
}

/// The worst of all.
Loss worst_lost_timeline(const View& view, std::set<unsigned>& found_in) {
    Loss worst;
    for (const RepositoryFacts& repository : view.snapshot.repositories)
        for (const ArchiveFacts& archive : repository.archives)
            for (const LostTimeline& lost : archive.lost_timelines) {
                found_in.insert(repository.key);
                Loss loss = loss_of(lost, repository, view.snapshot.stanza);
                if (loss.state > worst.state) worst = std::move(loss);
            }
    return worst;
}

/// Where an archive has gaps, in the order of its WAL.
std::string text_of_gaps(const std::vector<WalGap>& gaps) {
    const WalGap& first = gaps.front();
    std::string text = "misses " + count_of(first.segments, "segment") + " from " + first.first +
                       " on" +
                       (first.backup.empty() ? "" : ", which backup " + first.backup + " needs");
    if (gaps.size() == 1) return text;
    // What the newest backup is followed by bounds what can be recovered from now on.
    const auto open = std::ranges::find(gaps, "", &WalGap::next_backup);
    const bool bounds = open != gaps.begin() && open != gaps.end();
    return text + ", and has " + count_of(gaps.size() - 1, "more gap") +
           (bounds ? ": what the newest backup leads to ends before " + open->first
                   : ", the last from " + gaps.back().first + " on");
}

Loss gaps_of(const View& view, std::uint64_t& missing, std::set<unsigned>& found_in) {
    Loss loss;
    std::string behind;
    bool open = false;
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        std::vector<WalGap> all;
        for (const ArchiveFacts& archive : repository.archives) {
            std::vector<WalGap> gaps = archive.gaps;
            std::ranges::stable_sort(gaps, {}, &WalGap::first);
            all.insert(all.end(), gaps.begin(), gaps.end());
        }
        for (const WalGap& gap : all) {
            missing += gap.segments;
            open = open || gap.next_backup.empty();
            behind = std::max(behind, gap.next_backup);
        }
        if (all.empty()) continue;
        found_in.insert(repository.key);
        loss.message +=
            (loss.message.empty() ? "" : "; ") + repo_name(repository) + " " + text_of_gaps(all);
    }
    if (loss.message.empty()) return loss;
    loss.state = RuleState::critical;
    loss.hint = open ? "Nothing can be recovered across a gap: take a backup now."
                     : "Moments in the gap are lost, and no restore goes across it. Backup " +
                           behind + " was taken behind it: later moments can be reached.";
    return loss;
}

std::string end_of_archive(const RepositoryFacts& repository) {
    const auto archive = std::ranges::find(repository.archives, repository.current_id,
                                           [](const ArchiveFacts& one) { return one.database.id; });
    return repo_name(repository) +
           (archive == repository.archives.end() || archive->timeline_end.empty()
                ? " has no WAL of that timeline"
                : " ends with " + archive->timeline_end);
}

constexpr const char* kBelieved = "the server believes to have archived ";

std::string hint_about_end(const View& view) {
    if (view.server != nullptr && !view.server->foreign_archiver.empty())
        return "What archives is neither chronos nor pgBackRest: " +
               printable(view.server->foreign_archiver) +
               ". Set archive_library = 'chronos_backup', then take a backup now: what was thrown"
               " away cannot be recovered.";
    return "The repository has lost its end, as one that was set back to an older state has;"
           " or what archives uses another repository or stanza; or WAL was dropped because of"
           " archive-push-queue-max. Take a backup now: no restore gets to what is missing.";
}

/// What the server has given up because it was archived, and what is not there.
Loss lost_end(const View& view, std::set<unsigned>& found_in) {
    std::string ends;
    bool is_there = false;
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        if (is_foreign(view, repository)) continue;
        const LastArchived found = last_archived_in(repository, view.snapshot);
        is_there = is_there || found == LastArchived::there;
        if (found != LastArchived::missing) continue;
        found_in.insert(repository.key);
        ends += (ends.empty() ? "" : ", ") + end_of_archive(repository);
    }
    if (ends.empty()) return {};
    const std::string what = kBelieved + view.snapshot.last_archived + ", ";
    // What is left still restores, but one failure further that is lost.
    return is_there ? Loss{RuleState::warning, what + "which is not in all repositories: " + ends,
                           "A restore from that repository ends there. A backup into it begins a"
                           " new window: take one."}
                    : Loss{RuleState::critical, what + "which is in no repository: " + ends,
                           hint_about_end(view)};
}

Rule wal_gap(const View& view) {
    constexpr const char* kName = "wal_gap";
    if (!any_read(view)) return nothing_read(view, kName);
    Rule rule = found(kName, RuleState::ok, "the WAL of the recovery window is without gaps");
    std::uint64_t missing = 0;
    const std::array losses{gaps_of(view, missing, rule.found_in),
                            worst_lost_timeline(view, rule.found_in),
                            lost_end(view, rule.found_in)};
    rule.value = std::to_string(missing);
    rule.number = to_number(missing);
    std::string message;
    for (const Loss& loss : losses) {
        if (loss.state == RuleState::ok) continue;
        rule.state = std::max(rule.state, loss.state);
        message += (message.empty() ? "" : "; ") + loss.message;
        rule.hint += (rule.hint.empty() ? "" : " ") + loss.hint;
    }
    if (!message.empty()) rule.message = message;
    return rule;
}

/// Calls `look` with each archive and its repository.
template <class Look>
void each_archive(const View& view, const Look& look) {
    for (const RepositoryFacts& repository : view.snapshot.repositories)
        for (const ArchiveFacts& archive : repository.archives) look(repository, archive);
}

Rule timelines_diverge(const View& view) {
    constexpr const char* kName = "timelines_diverge";
    if (!any_read(view)) return nothing_read(view, kName);
    std::size_t count = 0;
    std::string message;
    std::uint32_t parent = 0, child = 0;
    std::set<unsigned> found_in;
    each_archive(view, [&](const RepositoryFacts& repository, const ArchiveFacts& archive) {
        for (const Divergence& one : archive.divergences) {
            ++count;
            found_in.insert(repository.key);
            parent = one.parent;
            child = one.child;
            message = repo_name(repository) + ": timeline " + std::to_string(one.child) +
                      " left timeline " + std::to_string(one.parent) + " at " + one.left +
                      ", and timeline " + std::to_string(one.parent) + " went on, up to " +
                      one.last;
        }
    });
    Rule rule = found(kName, RuleState::ok, "no timeline goes on beside the one that left it");
    rule.value = std::to_string(count);
    rule.number = to_number(count);
    rule.found_in = std::move(found_in);
    if (count == 0) return rule;
    rule.state = RuleState::critical;
    rule.message = message;
    rule.hint =
        "Two servers write, or one did for a while: find out which is production, stop the "
        "other, take a full backup of it. A restore needs --target-timeline=" +
        std::to_string(parent) + " or " + std::to_string(child) + " until then.";
    return rule;
}

Rule wal_conflict(const View& view) {
    constexpr const char* kName = "wal_conflict";
    if (!any_read(view)) return nothing_read(view, kName);
    std::size_t count = 0;
    bool history = false;
    std::string message;
    std::set<unsigned> found_in;
    each_archive(view, [&](const RepositoryFacts& repository, const ArchiveFacts& archive) {
        for (const std::string& file : archive.kept_aside) {
            ++count;
            found_in.insert(repository.key);
            if (history) continue;
            history = file.ends_with(".history");
            message = repo_name(repository) + " was given another content for " + file +
                      " and keeps it aside";
        }
    });
    Rule rule = found(kName, RuleState::ok, "no file of the archive has two contents");
    rule.value = std::to_string(count);
    rule.number = to_number(count);
    rule.found_in = std::move(found_in);
    if (count == 0) return rule;
    rule.state = history ? RuleState::critical : RuleState::warning;
    rule.message = message;
    rule.hint = history
                    ? "Two servers began the same timeline: only the first can archive here. "
                      "Rebuild the other one; then remove the file below chronos/<stanza>/conflict."
                    : "A segment was left twice by a promotion. Once nothing of it is needed, "
                      "remove the file below chronos/<stanza>/conflict.";
    return rule;
}

Rule repo_size(const View& view) {
    constexpr const char* kName = "repo_size";
    if (!any_read(view)) return nothing_read(view, kName);
    std::uint64_t largest = 0;
    std::string name;
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        const std::uint64_t size = repository.backup_bytes() + repository.wal_bytes();
        if (!name.empty() && size <= largest) continue;
        largest = size;
        name = repo_name(repository);
    }
    Rule rule = found(kName, RuleState::ok, name + " holds " + format_size(largest));
    rule.value = format_size(largest);
    rule.number = to_number(largest);
    if (view.limits.repo_size_bytes == 0) return rule;
    rule.threshold = format_size(view.limits.repo_size_bytes);
    for (const RepositoryFacts& repository : view.snapshot.repositories)
        if (repository.backup_bytes() + repository.wal_bytes() > view.limits.repo_size_bytes)
            rule.found_in.insert(repository.key);
    if (largest <= view.limits.repo_size_bytes) return rule;
    rule.state = RuleState::warning;
    rule.message += ", more than " + rule.threshold;
    rule.hint = "chronos expire --dry-run shows what retention keeps, and why.";
    return rule;
}

/// The last two full backups of a repository; nullptr where there are fewer.
std::pair<const repo::BackupEntry*, const repo::BackupEntry*> last_full_backups(
    const RepositoryFacts& repository) {
    std::pair<const repo::BackupEntry*, const repo::BackupEntry*> result = {};
    for (const repo::BackupEntry& backup : repository.backups)
        if (backup.type == repo::BackupType::full) result = {result.second, &backup};
    return result;
}

Rule repo_growth(const View& view) {
    constexpr const char* kName = "repo_growth";
    std::optional<double> most;
    std::string what;
    std::set<unsigned> over;
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        const auto [former, latest] = last_full_backups(repository);
        if (former == nullptr || former->repo_size == 0) continue;
        const double before = to_number(former->repo_size);
        const double percent = (to_number(latest->repo_size) - before) * 100 / before;
        if (percent > view.limits.repo_growth_percent) over.insert(repository.key);
        if (most && percent <= *most) continue;
        most = percent;
        what = "full backup " + latest->label + " takes " + format_size(latest->repo_size) +
               " in " + repo_name(repository) + ", the one before " +
               format_size(former->repo_size);
    }
    if (!most) return unknown(kName, "there are no two full backups to compare");
    Rule rule = found(kName, RuleState::ok, what);
    rule.value = std::to_string(static_cast<int>(*most)) + "%";
    rule.number = most;
    if (view.limits.repo_growth_percent == 0) return rule;
    rule.threshold = std::to_string(view.limits.repo_growth_percent) + "%";
    if (*most > view.limits.repo_growth_percent) rule.state = RuleState::warning;
    rule.found_in = std::move(over);
    return rule;
}

Rule disk_pg_wal(const View& view) {
    constexpr const char* kName = "disk_pg_wal";
    if (view.server == nullptr) return without_server(kName);
    const ServerFacts& server = *view.server;
    if (server.disk_total_bytes == 0) return unknown(kName, "the file system cannot be looked at");
    const double percent =
        100.0 * to_number(server.disk_free_bytes) / to_number(server.disk_total_bytes);
    Rule rule =
        found(kName, RuleState::ok,
              format_size(server.disk_free_bytes) + " of " + format_size(server.disk_total_bytes) +
                  " are free; pg_wal holds " + format_size(server.pg_wal_bytes));
    rule.value = std::to_string(static_cast<int>(percent)) + "% free";
    rule.number = percent;
    const double limit = view.limits.disk_free_percent;
    if (limit == 0) return rule;
    rule.threshold = std::to_string(view.limits.disk_free_percent) + "%";
    if (percent < 2 * limit) rule.state = RuleState::warning;
    if (percent < limit) rule.state = RuleState::critical;
    if (rule.state != RuleState::ok)
        rule.hint =
            "The server stops when pg_wal is full: free space, or mend what holds WAL back.";
    return rule;
}

Rule rpo(const View& view) {
    constexpr const char* kName = "rpo";
    if (view.server == nullptr) return without_server(kName);
    if (view.server->in_recovery) return unknown(kName, "a standby loses nothing that is archived");
    const auto lost = data_loss_seconds(*view.server, view.snapshot);
    if (!lost) {
        Rule rule = unknown(kName, kBelieved + view.snapshot.last_archived +
                                       ", which is in no repository: what would be lost is more "
                                       "than it knows");
        rule.hint = hint_about_end(view);
        return rule;
    }
    Rule rule = duration_rule(kName, *lost, view.limits.data_loss, RuleState::critical,
                              "without this server now, lost would be the last");
    if (rule.state != RuleState::ok)
        rule.hint = "A smaller archive_timeout bounds what an unfinished WAL segment can hold.";
    const ServerFacts& server = *view.server;
    if (server.holds_unarchived() && is_ahead(server.last_archived_at, server.at)) {
        warn_of_clock(rule, "WAL was archived last", server.last_archived_at, server.at);
        rule.hint = "The next WAL file that is archived clears this.";
    }
    return rule;
}

Rule drill(const View& view) {
    constexpr const char* kName = "drill";
    const std::optional<DrillFacts>& facts = view.snapshot.drill;
    if (!facts && !any_read(view)) return nothing_read(view, kName);
    if (!facts && view.limits.drill_age->count() == 0)
        return unknown(kName, "there was no restore drill");
    if (!facts) {
        Rule rule = found(kName, RuleState::warning, "there was no restore drill yet");
        rule.threshold = format_duration(view.limits.drill_age->count());
        return rule;
    }
    Rule rule = duration_rule(kName, std::max<std::int64_t>(0, view.now - facts->finished_at),
                              view.limits.drill_age, RuleState::warning,
                              "time since the last restore drill is");
    const bool ahead = is_ahead(facts->finished_at, view.now);
    if (ahead) {
        warn_of_clock(rule, "the last restore drill ended", facts->finished_at, view.now);
        rule.hint = "The next drill clears this.";
    }
    if (facts->passed) return rule;
    for (const RepositoryFacts& repository : view.snapshot.repositories)
        if (repository.drill && repository.drill->finished_at == facts->finished_at)
            rule.found_in.insert(repository.key);
    rule.state = RuleState::critical;
    rule.begun = facts->finished_at;
    rule.message = "the last restore drill failed";
    rule.hint = "Its report tells at which step: a backup that does not restore is none.";
    if (ahead) {
        rule.message += in_the_future(", and ended", facts->finished_at, view.now);
        rule.hint += " If that clock was wrong: remove the report below chronos/" +
                     view.snapshot.stanza + "/drills.";
    }
    return rule;
}

Rule rto(const View& view) {
    constexpr const char* kName = "rto";
    const std::int64_t limit = view.limits.recovery_time->count();
    const bool measured = view.snapshot.drill && view.snapshot.drill->recovery_time;
    if (!measured && limit == 0) return unknown(kName, "no restore drill has measured it");
    if (!measured) {
        Rule rule = found(kName, RuleState::warning,
                          "no restore drill has measured how long a recovery takes");
        rule.threshold = format_duration(limit);
        rule.hint = "chronos drill measures it.";
        return rule;
    }
    // What takes four fifths of the time today does not when the cluster has grown.
    const auto taken = std::llround(*view.snapshot.drill->recovery_time);
    Rule rule = duration_rule(kName, taken, view.limits.recovery_time, RuleState::critical,
                              "restoring and recovering took the last drill");
    if (rule.state == RuleState::ok && limit > 0 && taken * 5 > limit * 4)
        rule.state = RuleState::warning;
    if (rule.state != RuleState::ok)
        rule.hint =
            "More process-max, more frequent backups (less WAL to replay) and --delta shorten it.";
    return rule;
}

std::string late_text(const HeartbeatFacts& one) {
    return one.subject + " stands still, a sign of it has been due for " +
           format_duration(one.late_by) + (one.message.empty() ? "" : ": " + one.message);
}

/// Those without which there are no backups and no WAL, and nobody who would tell.
bool is_vital(const std::string& subject) {
    return subject == "launcher" || subject == "scheduler" || subject == "archiver" ||
           subject == "health";
}

Rule heartbeat(const View& view) {
    constexpr const char* kName = "heartbeat";
    if (view.server == nullptr) return without_server(kName);
    if (const std::string& version = view.server->old_sql_version; !version.empty()) {
        Rule rule = unknown(kName, "the SQL objects of chronos_backup are of version " +
                                       printable(version) + ", which does not tell");
        rule.hint = "In the database of chronos.database: ALTER EXTENSION chronos_backup UPDATE.";
        return rule;
    }
    if (view.server->heartbeats.empty()) return unknown(kName, "the server's module does not tell");
    Rule rule = found(kName, RuleState::ok, "all that has to go on goes on");
    std::string text;
    std::size_t late = 0;
    for (const HeartbeatFacts& one : view.server->heartbeats) {
        if (!one.late) continue;
        ++late;
        text += (text.empty() ? "" : "; ") + late_text(one);
        rule.state =
            std::max(rule.state, is_vital(one.subject) ? RuleState::critical : RuleState::warning);
    }
    rule.value = std::to_string(late);
    rule.number = to_number(late);
    if (late == 0) return rule;
    rule.message = text;
    rule.hint =
        "The server log tells why, or pg_stat_activity what the process waits for; "
        "chronos.heartbeats shows all of them.";
    return rule;
}

std::string two_primaries(const RepositoryFacts& repository) {
    const std::string timeline = "timeline " + std::to_string(repository.beside_timeline);
    return "in " + repo_name(repository) + " two servers use the stanza: " +
           (repository.beside_is_newer
                ? "another one was promoted to " + timeline
                : "the one of " + timeline + " goes on, which this server has left") +
           ": " + repository.beside;
}

Rule stanza_owner(const View& view) {
    constexpr const char* kName = "stanza_owner";
    if (!any_read(view)) return nothing_read(view, kName);
    Rule rule = found(kName, RuleState::ok, "no other server uses the stanza");
    for (const RepositoryFacts& repository : view.snapshot.repositories)
        if (is_foreign(view, repository) || !repository.owner.empty() ||
            !repository.beside.empty() || !repository.refused.empty())
            rule.found_in.insert(repository.key);
    for (const RepositoryFacts& repository : view.snapshot.repositories) {
        if (is_foreign(view, repository)) {
            rule.state = RuleState::critical;
            rule.message =
                foreign_text(view, repository) + ": no WAL and no backup of this one is taken";
            rule.hint = kForeignHint;
            return rule;
        }
        if (!repository.owner.empty()) {
            rule.state = RuleState::critical;
            rule.message = "in " + repo_name(repository) + " the stanza belongs to " +
                           repository.owner + ": nothing of this server is taken";
            rule.hint =
                "If this server has replaced the other one, run chronos stanza-claim here;"
                " if it is a copy, give it a stanza of its own.";
            return rule;
        }
        if (!repository.beside.empty()) {
            rule.state = RuleState::critical;
            rule.message = two_primaries(repository);
            rule.hint =
                "Find out which one is production and stop the other one. Until then both go on to"
                " archive, each its own timeline, and to back up.";
            return rule;
        }
        if (repository.refused.empty()) continue;
        rule.state = RuleState::warning;
        rule.message =
            "in " + repo_name(repository) +
            " another server was refused that wanted to use the stanza: " + repository.refused;
        rule.hint =
            "Is it a copy of this one? It has the same configuration: change that, or set"
            " archive_mode = off there.";
    }
    return rule;
}

/// What it takes to say that all is well.
enum class Proof {
    own,      ///< what the rule itself looks at
    any_one,  ///< a repository that can be asked about this server
    each,     ///< all of them
};

struct RuleRow {
    Rule (*judge)(const View&);
    Proof proof = Proof::own;
};

constexpr std::array kRules{RuleRow{repo_unreachable},
                            RuleRow{backup_age},
                            RuleRow{page_errors, Proof::each},
                            RuleRow{backup_failed},
                            RuleRow{backup_duration},
                            RuleRow{verify, Proof::each},
                            RuleRow{wal_lag},
                            RuleRow{wal_gap, Proof::each},
                            RuleRow{rpo, Proof::any_one},
                            RuleRow{timelines_diverge, Proof::each},
                            RuleRow{wal_conflict, Proof::each},
                            RuleRow{disk_pg_wal},
                            RuleRow{repo_size},
                            RuleRow{repo_growth},
                            RuleRow{drill, Proof::any_one},
                            RuleRow{rto, Proof::any_one},
                            RuleRow{heartbeat},
                            RuleRow{stanza_owner, Proof::each}};

constexpr std::array<std::pair<RuleState, std::string_view>, 4> kStateNames{
    {{RuleState::ok, "ok"},
     {RuleState::unknown, "unknown"},
     {RuleState::warning, "warning"},
     {RuleState::critical, "critical"}}};

bool is_alarm(RuleState state) {
    return state == RuleState::warning || state == RuleState::critical;
}

}  // namespace

std::string_view rule_state_name(RuleState state) {
    for (const auto& [candidate, name] : kStateNames)
        if (candidate == state) return name;
    return "unknown";
}

std::optional<RuleState> parse_rule_state(std::string_view name) {
    for (const auto& [state, candidate] : kStateNames)
        if (candidate == name) return state;
    return std::nullopt;
}

std::vector<Rule> evaluate(const Snapshot& snapshot, const std::optional<ServerFacts>& server,
                           const Limits& limits, UnixTime now) {
    const View view{snapshot, server ? &*server : nullptr, limits, now};
    std::vector<Rule> rules;
    for (const RuleRow& row : kRules) {
        rules.push_back(row.judge(view));
        if (row.proof != Proof::own) doubt(view, row.proof == Proof::any_one, rules.back());
    }
    return rules;
}

RuleState overall_state(const std::vector<Rule>& rules) {
    RuleState worst = RuleState::ok;
    for (const Rule& rule : rules)
        if (is_alarm(rule.state)) worst = std::max(worst, rule.state);
    return worst;
}

RuleState state_of(const RepositoryFacts& repository, const std::vector<Rule>& rules) {
    RuleState worst = RuleState::ok;
    for (const Rule& rule : rules)
        if (rule.found_in.contains(repository.key) && is_alarm(rule.state))
            worst = std::max(worst, rule.state);
    return worst;
}

std::vector<Change> note_states(std::vector<Rule>& rules, RuleMemories& memories, UnixTime now) {
    std::vector<Change> changes;
    for (Rule& rule : rules) {
        const auto [entry, is_new] = memories.try_emplace(rule.name);
        RuleMemory& memory = entry->second;
        const UnixTime begun = rule.begun != 0 ? std::min(rule.begun, now) : now;
        if (is_new || memory.state != rule.state) {
            const RuleState before = is_new ? RuleState::unknown : memory.state;
            memory.state = rule.state;
            memory.since = begun;
            rule.since = begun;
            const bool counts =
                is_alarm(rule.state) || (is_alarm(before) && rule.state == RuleState::ok);
            if (counts) changes.push_back({rule, before});
        }
        // What the facts tell goes back further than whoever looks has been looking.
        if (is_alarm(rule.state)) memory.since = std::min(memory.since, begun);
        rule.since = memory.since;
    }
    return changes;
}

std::vector<Change> unannounced(const std::vector<Rule>& rules, const RuleMemories& memories) {
    std::vector<Change> changes;
    for (const Rule& rule : rules) {
        const auto memory = memories.find(rule.name);
        if (memory == memories.end() || rule.state == RuleState::unknown) continue;
        const RuleState told = memory->second.announced;
        // That all is well is news only to somebody who was told otherwise.
        if (told == rule.state || (rule.state == RuleState::ok && !is_alarm(told))) continue;
        changes.push_back({rule, told});
    }
    return changes;
}

std::string format_duration(std::int64_t total) {
    const std::int64_t days = total / 86400, hours = total / 3600 % 24, minutes = total / 60 % 60;
    const auto with = [](std::int64_t number, const char* unit) {
        return std::to_string(number) + unit;
    };
    if (days > 0) return with(days, "d") + (hours > 0 ? " " + with(hours, "h") : "");
    if (hours > 0) return with(hours, "h") + (minutes > 0 ? " " + with(minutes, "m") : "");
    if (minutes > 0) {
        const std::int64_t rest = total % 60;
        return with(minutes, "m") + (rest > 0 ? " " + with(rest, "s") : "");
    }
    return with(total, "s");
}

}  // namespace chronos::ops::health
