#include <algorithm>

#include "chronos/base/text.h"
#include "chronos/ops/health/health.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/side/drill.h"
#include "chronos/repo/side/hold.h"
#include "chronos/repo/side/verify_result.h"
#include "chronos/repo/stanza.h"
#include "chronos/repo/wal_archive.h"
#include "chronos/storage/storage.h"
#include "ops/health/ahead.h"
#include "ops/health/timelines.h"
#include "ops/health/wal_runs.h"

namespace chronos::ops::health {
namespace {

using repo::Repository;

constexpr UnixTime kHourSeconds = 3600;
/// For so long a directory that is full is taken to be what it was.
constexpr UnixTime kRelistSeconds = 6 * kHourSeconds;
constexpr UnixTime kHoursKept = 48 * kHourSeconds;
/// Of drills, for those who want to see more than the last one.
constexpr std::size_t kDrillsKept = 30;

void add_to_hour(std::vector<WalHour>& hours, UnixTime begin, std::uint64_t segments,
                 std::uint64_t stored_bytes) {
    const auto at =
        std::lower_bound(hours.begin(), hours.end(), begin,
                         [](const WalHour& hour, UnixTime t) { return hour.begin < t; });
    if (at != hours.end() && at->begin == begin) {
        at->segments += segments;
        at->stored_bytes += stored_bytes;
    } else {
        hours.insert(at, {begin, segments, stored_bytes});
    }
}

Result<WalDirectory> list_directory(storage::Storage& storage, const std::string& path,
                                    UnixTime now) {
    WalDirectory directory;
    directory.looked_at = now;
    for (const storage::Entry& entry : CHRONOS_TRY(storage.list(path))) {
        if (!repo::is_archived_segment(entry)) continue;
        const auto low =
            segment_low(std::string_view(entry.name).substr(0, pgdata::kWalSegmentNameSize));
        ++directory.segments;
        directory.stored_bytes += entry.size;
        directory.newest = std::max(directory.newest, entry.modified);
        if (now - entry.modified < kHoursKept)
            add_to_hour(directory.hours, entry.modified - entry.modified % kHourSeconds, 1,
                        entry.size);
        auto& runs = directory.runs;
        if (runs.empty() || runs.back().last + 1 < low)
            runs.push_back({low, low, entry.modified, entry.modified});
        runs.back().last = std::max(runs.back().last, low);
        runs.back().last_at = entry.modified;
    }
    return directory;
}

/// One that later ones of its timeline follow, and that was seen after the last change it had.
bool still_holds(const WalDirectory& known, bool last_of_timeline, UnixTime now) {
    return !last_of_timeline && known.looked_at <= now && now - known.looked_at < kRelistSeconds &&
           known.looked_at - known.newest > kHourSeconds;
}

/// Directories that are gone from the archive are forgotten.
void forget_others(WalMemory& memory, const std::string& prefix,
                   const std::vector<std::string>& names) {
    for (auto entry = memory.lower_bound(prefix);
         entry != memory.end() && entry->first.starts_with(prefix);) {
        const std::string name = entry->first.substr(prefix.size());
        if (std::binary_search(names.begin(), names.end(), name))
            ++entry;
        else
            entry = memory.erase(entry);
    }
}

void add_directory(ArchiveFacts& archive, const std::string& name, const WalDirectory& directory,
                   UnixTime now) {
    if (directory.runs.empty()) return;
    if (archive.min.empty()) archive.min = segment_name(name, directory.runs.front().first);
    archive.max = segment_name(name, directory.runs.back().last);
    archive.segments += directory.segments;
    archive.stored_bytes += directory.stored_bytes;
    archive.newest = std::max(archive.newest, directory.newest);
    for (const WalHour& hour : directory.hours)
        if (now - hour.begin < kHoursKept)
            add_to_hour(archive.hours, hour.begin, hour.segments, hour.stored_bytes);
}

/// The segment that a file of pg_wal is, or a backup history is about; "" for every other one, of
/// which nothing is to be said.
std::string segment_of(const std::string& file) {
    const bool tells = file.size() == pgdata::kWalSegmentNameSize || file.ends_with(".backup");
    std::string segment = file.substr(0, pgdata::kWalSegmentNameSize);
    return tells && pgdata::is_wal_segment(segment) ? segment : "";
}

void look_for_last_archived(const std::string& segment, const std::string& directory,
                            const std::vector<WalRun>& runs, ArchiveFacts& archive) {
    if (runs.empty() || segment.empty() || !segment.starts_with(directory.substr(0, 8))) return;
    archive.timeline_end = segment_name(directory, runs.back().last);
    if (!segment.starts_with(directory)) return;
    const std::uint32_t low = segment_low(segment);
    archive.has_last_archived = std::ranges::any_of(
        runs, [&](const WalRun& run) { return run.first <= low && low <= run.last; });
}

std::string first_backup_behind(const WalGap& gap, const RepositoryFacts& facts,
                                std::uint64_t history_id) {
    const repo::BackupEntry* first = nullptr;
    for (const repo::BackupEntry& backup : facts.backups)
        if (backup.history_id == history_id && backup.archive_start > gap.last &&
            (first == nullptr || backup.timestamp_stop < first->timestamp_stop))
            first = &backup;
    return first == nullptr ? "" : first->label;
}

Result<ArchiveFacts> look_at_archive(const Repository& repository, const std::string& stanza,
                                     const std::string& pass, const RepositoryFacts& facts,
                                     const repo::HistoryEntry& database,
                                     const std::string& last_archived, WalMemory& memory,
                                     UnixTime now) {
    ArchiveFacts archive;
    archive.database = database;
    const std::string path = repo::archive_path(stanza) + "/" + database.archive_id();
    const std::string prefix = std::to_string(repository.key) + "/" + database.archive_id() + "/";
    std::vector<std::string> names;
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list(path)))
        if (repo::is_wal_directory(entry.name)) names.push_back(entry.name);
    forget_others(memory, prefix, names);
    WalRuns runs;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const bool last =
            i + 1 == names.size() || names[i + 1].substr(0, 8) != names[i].substr(0, 8);
        auto known = memory.find(prefix + names[i]);
        if (known == memory.end() || !still_holds(known->second, last, now) ||
            last_archived.starts_with(names[i]))
            known = memory
                        .insert_or_assign(prefix + names[i],
                                          CHRONOS_TRY(list_directory(*repository.storage,
                                                                     path + "/" + names[i], now)))
                        .first;
        add_directory(archive, names[i], known->second, now);
        look_for_last_archived(last_archived, names[i], known->second.runs, archive);
        runs.add(names[i], known->second.runs);
    }
    if (const auto size = segment_size_of(facts.backups, database.id)) runs.set_segment_size(*size);
    const repo::Timelines timelines = timelines_of(repository, stanza, archive, pass);
    archive.gaps = find_gaps(runs, facts.backups, timelines, database.id);
    for (WalGap& gap : archive.gaps) gap.next_backup = first_backup_behind(gap, facts, database.id);
    archive.lost_timelines = find_lost_timelines(runs, timelines, facts.backups, database.id);
    look_at_timelines(repository, stanza, pass, runs, timelines, facts.backups, archive);
    return archive;
}

/// By when a drill ended. One that passed by a clock that was ahead hides none that came after it;
/// one that failed may be the last.
auto order_of_drill(UnixTime finished, bool passed, UnixTime now) {
    return std::pair(!passed || !is_ahead(finished, now), finished);
}

/// What verify and drill have left in the repository. That nothing is known of them is also what it
/// amounts to if they cannot be read.
void look_at_records(const Repository& repository, const std::string& stanza,
                     const std::string& pass, UnixTime now, RepositoryFacts& facts) {
    if (const auto found = repo::load_verify_history(repository, stanza, pass))
        for (const repo::VerifySummary& one : *found)
            facts.verifies.push_back({one.finished, one.failures, one.first_failure, one.full,
                                      one.backups, one.wal_segments});
    if (!facts.verifies.empty()) facts.verify = facts.verifies.back();
    if (const auto one = repo::load_unfinished_verify(repository, stanza, pass); one && *one)
        facts.unfinished_verify = {(*one)->since, (*one)->finished, (*one)->reason,
                                   (*one)->failures, (*one)->first_failure};
    if (const auto holds = repo::list_holds(repository, stanza, pass))
        for (const repo::Hold& hold : *holds)
            facts.holds.push_back({hold.label, hold.reason, hold.since});
    auto drills = repo::list_drills(repository, stanza);
    if (!drills || drills->empty()) return;
    std::ranges::stable_sort(*drills, {}, [&](const repo::DrillRecord& one) {
        return order_of_drill(one.finished, one.passed, now);
    });
    facts.drill = DrillFacts{drills->back().finished, drills->back().passed, {}};
    for (std::size_t i = drills->size() - std::min(drills->size(), kDrillsKept); i < drills->size();
         ++i)
        facts.drills.push_back({(*drills)[i].finished, (*drills)[i].passed, (*drills)[i].id});
    const auto passed = std::find_if(drills->rbegin(), drills->rend(),
                                     [](const repo::DrillRecord& one) { return one.passed; });
    if (passed == drills->rend()) return;
    if (const auto report = repo::read_drill(repository, stanza, passed->name, pass); report)
        facts.drill->recovery_time = repo::drill_recovery_time(*report);
}

void add_records(const RepositoryFacts& facts, UnixTime now, Snapshot& snapshot) {
    if (facts.verify && !snapshot.verify) {
        snapshot.verify = facts.verify;
    } else if (facts.verify) {
        VerifyFacts& all = *snapshot.verify;
        all.finished_at = std::min(all.finished_at, facts.verify->finished_at);
        all.problems += facts.verify->problems;
        if (all.message.empty()) all.message = facts.verify->message;
    }
    const auto order = [&](const DrillFacts& one) {
        return order_of_drill(one.finished_at, one.passed, now);
    };
    if (facts.drill && (!snapshot.drill || order(*snapshot.drill) < order(*facts.drill)))
        snapshot.drill = facts.drill;
}

/// Under the ids of an archive.info that says otherwise lies WAL of other clusters, or none is
/// taken.
Result<repo::ArchiveInfo> archive_info_of(const Repository& repository, const std::string& stanza,
                                          const repo::BackupInfo& backup) {
    auto info = CHRONOS_TRY(repo::load_archive_info(repository, stanza));
    CHRONOS_TRY(repo::check_agreement(info, backup, stanza));
    if (const auto known = repo::check_archive_ids(info, backup); !known)
        return Error(known.error()).with_hint(repo::repair_hint(stanza));
    return info;
}

Result<> look_into(const Repository& repository, const std::string& stanza,
                   const std::string& last_archived, WalMemory& memory, UnixTime now,
                   RepositoryFacts& facts) {
    auto info = repo::load_backup_info(repository, stanza);
    if (!info && info.error().kind() == ErrorKind::not_found) {
        const bool there =
            CHRONOS_TRY(storage::exists(*repository.storage, repo::backup_path(stanza)));
        facts.status = there ? StatusCode::missing_stanza_data : StatusCode::missing_stanza_path;
        facts.problem = there ? "there is no backup.info" : "there is no such stanza";
        return {};
    }
    if (!info) return std::move(info).error();
    const std::string archive_pass =
        CHRONOS_TRY(archive_info_of(repository, stanza, *info)).cipher_pass;
    look_at_records(repository, stanza, info->cipher_pass, now, facts);
    facts.history = info->history;
    facts.current_id = info->current_id;
    facts.backups = std::move(info->backups);
    if (facts.backups.empty()) facts.status = StatusCode::no_valid_backups;
    for (const repo::HistoryEntry& database : facts.history) {
        ArchiveFacts archive = CHRONOS_TRY(look_at_archive(repository, stanza, archive_pass, facts,
                                                           database, last_archived, memory, now));
        if (!archive.max.empty() || database.id == facts.current_id)
            facts.archives.push_back(std::move(archive));
    }
    return {};
}

RepositoryFacts look_at(const Repository& repository, const std::string& stanza,
                        const std::string& last_archived, WalMemory& memory, UnixTime now) {
    RepositoryFacts facts;
    facts.key = repository.key;
    facts.cipher = repository.cipher;
    facts.place = repository.storage->describe("");
    if (const auto looked = look_into(repository, stanza, last_archived, memory, now, facts);
        !looked) {
        facts.status = StatusCode::other;
        facts.problem = looked.error().message();
        facts.way_out = looked.error().hint();
        // Half of what a repository says would mislead.
        facts.backups.clear();
        facts.archives.clear();
        facts.holds.clear();
    }
    return facts;
}

const repo::BackupEntry* latest_of(const RepositoryFacts& repository, const auto& counts) {
    const repo::BackupEntry* latest = nullptr;
    for (const repo::BackupEntry& backup : repository.backups)
        if (backup.history_id == repository.current_id && counts(backup) &&
            (latest == nullptr || backup.timestamp_stop > latest->timestamp_stop))
            latest = &backup;
    return latest;
}

}  // namespace

const repo::HistoryEntry* RepositoryFacts::cluster() const {
    const auto found = std::ranges::find(history, current_id, &repo::HistoryEntry::id);
    return found == history.end() ? nullptr : &*found;
}

std::uint64_t RepositoryFacts::backup_bytes() const {
    std::uint64_t sum = 0;
    for (const repo::BackupEntry& backup : backups) sum += backup.repo_size_delta;
    return sum;
}

std::uint64_t RepositoryFacts::wal_bytes() const {
    std::uint64_t sum = 0;
    for (const ArchiveFacts& archive : archives) sum += archive.stored_bytes;
    return sum;
}

StatusCode Snapshot::status() const {
    if (repositories.empty()) return StatusCode::other;
    for (const RepositoryFacts& repository : repositories)
        if (repository.status != repositories.front().status)
            return StatusCode::different_across_repos;
    return repositories.front().status;
}

const repo::BackupEntry* Snapshot::latest_backup() const {
    const repo::BackupEntry* latest = nullptr;
    for (const RepositoryFacts& repository : repositories) {
        const repo::BackupEntry* one = latest_backup_of(repository);
        if (one != nullptr && (latest == nullptr || one->timestamp_stop > latest->timestamp_stop))
            latest = one;
    }
    return latest;
}

bool has_page_errors(const repo::BackupEntry& backup) {
    return backup.error.value_or(false);
}

const repo::BackupEntry* latest_backup_of(const RepositoryFacts& repository) {
    return latest_of(repository, [](const repo::BackupEntry&) { return true; });
}

const repo::BackupEntry* latest_restorable_of(const RepositoryFacts& repository) {
    return latest_of(repository,
                     [](const repo::BackupEntry& backup) { return !has_page_errors(backup); });
}

bool is_of_another_cluster(const RepositoryFacts& repository, const ServerFacts& server) {
    const repo::HistoryEntry* cluster = repository.cluster();
    return server.system_id != 0 && cluster != nullptr &&
           (cluster->system_id != server.system_id || cluster->version != server.version);
}

// Expire keeps everything from the start of the newest backup on.
LastArchived last_archived_in(const RepositoryFacts& repository, const Snapshot& snapshot) {
    std::string kept_from;
    for (const repo::BackupEntry& backup : repository.backups)
        if (backup.history_id == repository.current_id)
            kept_from = std::max(kept_from, backup.archive_start);
    if (kept_from.empty() || snapshot.last_archived < kept_from) return LastArchived::not_told;
    const auto archive = std::ranges::find(repository.archives, repository.current_id,
                                           [](const ArchiveFacts& one) { return one.database.id; });
    if (archive == repository.archives.end()) return LastArchived::not_told;
    return archive->has_last_archived ? LastArchived::there : LastArchived::missing;
}

std::optional<std::int64_t> data_loss_seconds(const ServerFacts& server, const Snapshot& snapshot) {
    bool missing = false;
    for (const RepositoryFacts& repository : snapshot.repositories) {
        if (is_of_another_cluster(repository, server)) continue;
        const LastArchived found = last_archived_in(repository, snapshot);
        if (found == LastArchived::there) return server.data_loss_seconds();
        missing = missing || found == LastArchived::missing;
    }
    return missing ? std::nullopt : std::optional(server.data_loss_seconds());
}

Snapshot look_at_repositories(const std::vector<Repository>& repositories,
                              const std::string& stanza, WalMemory& memory, UnixTime now,
                              const std::string& last_archived) {
    Snapshot snapshot;
    snapshot.taken_at = now;
    snapshot.stanza = stanza;
    snapshot.last_archived = segment_of(last_archived);
    for (const Repository& repository : repositories) {
        snapshot.repositories.push_back(
            look_at(repository, stanza, snapshot.last_archived, memory, now));
        add_records(snapshot.repositories.back(), now, snapshot);
    }
    return snapshot;
}

}  // namespace chronos::ops::health
