#include "ops/health/timelines.h"

#include <algorithm>

#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_commits.h"
#include "chronos/repo/side/kept_aside.h"
#include "chronos/repo/timelines.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::health {
namespace {

/// A backup of the new timeline begun after the old one had stopped: somebody works there.
bool is_settled(const Divergence& found, const std::vector<repo::BackupEntry>& backups) {
    return std::ranges::any_of(backups, [&](const repo::BackupEntry& backup) {
        return !backup.archive_start.empty() &&
               pgdata::timeline_of_segment(backup.archive_start) >= found.child &&
               backup.timestamp_start > found.last_stored;
    });
}

/// Whether the segment in which a timeline was left has a commit of its own behind that position. A
/// server that is gone may have archived it late, with nothing in it that anybody misses.
bool has_commits_behind(const repo::Repository& repository, const std::string& stanza,
                        const std::string& archive_id, const std::string& pass,
                        const std::string& segment, Lsn left) {
    const auto found = repo::list_archived_segment(repository, stanza, archive_id, segment);
    if (!found || found->empty()) return false;
    const auto content = repo::read_archived_segment(repository, found->front().object, pass);
    if (!content) return false;
    const auto header = pgdata::parse_wal_header(io::bytes(*content));
    if (!header) return false;
    const auto last = pgdata::last_commit(io::bytes(*content), header->page_address);
    return last && last->end > left;
}

void ask_a_segment(const repo::Repository& repository, const std::string& stanza,
                   const std::string& archive_id, const std::string& pass, WalRuns& runs) {
    const std::vector<WalRuns::Run> all = runs.all();
    if (all.empty()) return;
    const auto found = repo::list_archived_segment(
        repository, stanza, archive_id, runs.name(all.front().timeline, all.front().first));
    if (!found || found->empty()) return;
    const auto content = repo::read_archived_segment(repository, found->front().object, pass);
    if (!content) return;
    if (const auto header = pgdata::parse_wal_header(io::bytes(*content)))
        runs.set_segment_size(header->segment_size);
}

}  // namespace

repo::Timelines timelines_of(const repo::Repository& repository, const std::string& stanza,
                             const ArchiveFacts& archive, const std::string& pass) {
    auto timelines = repo::load_timelines(repository, stanza, archive.database.archive_id(), pass);
    return timelines ? *std::move(timelines) : repo::Timelines{};
}

std::vector<LostTimeline> find_lost_timelines(const WalRuns& runs, const repo::Timelines& timelines,
                                              const std::vector<repo::BackupEntry>& backups,
                                              std::uint64_t history_id) {
    std::map<Timeline, std::string> first_segments;
    for (const WalRuns::Run& run : runs.all())
        first_segments.try_emplace(run.timeline, runs.name(run.timeline, run.first));
    std::set<Timeline> with_wal;
    for (const auto& [timeline, first] : first_segments) with_wal.insert(timeline);
    std::vector<LostTimeline> found;
    for (const Timeline timeline : repo::histories_wanted(std::move(with_wal))) {
        const repo::Timelines::Way* way = timelines.way_to(timeline);
        if (way != nullptr && way->told_by == 0) continue;
        LostTimeline lost{timeline, way == nullptr ? 0 : way->told_by, first_segments[timeline],
                          ""};
        const repo::BackupEntry* own = nullptr;
        bool is_led_to = false;
        for (const repo::BackupEntry& backup : backups) {
            if (backup.history_id != history_id || !pgdata::is_wal_segment(backup.archive_start))
                continue;
            const Timeline of = pgdata::timeline_of_segment(backup.archive_start);
            is_led_to = is_led_to || of < timeline;
            if (of == timeline && (own == nullptr || backup.archive_start < own->archive_start))
                own = &backup;
        }
        if (own != nullptr) lost.next_backup = own->label;
        const bool begins_with_backup = own != nullptr && lost.first >= own->archive_start;
        if (is_led_to && !begins_with_backup) found.push_back(std::move(lost));
    }
    return found;
}

void look_at_timelines(const repo::Repository& repository, const std::string& stanza,
                       const std::string& pass, WalRuns& runs, const repo::Timelines& timelines,
                       const std::vector<repo::BackupEntry>& backups, ArchiveFacts& archive) {
    const std::string id = archive.database.archive_id();
    if (const auto aside = repo::list_kept_aside(repository, stanza, id))
        for (const repo::KeptAside& one : *aside) archive.kept_aside.push_back(one.name);
    if (!timelines.ways.empty() && !runs.knows_segment_size())
        ask_a_segment(repository, stanza, id, pass, runs);
    const std::vector<WalRuns::Run> all = runs.all();
    for (const auto& [child, way] : timelines.ways) {
        const pgdata::TimelineSwitch& left = way.switches.back();
        const std::uint64_t fork = runs.position_of(left.switch_lsn.value);
        Divergence found{left.parent, child, left.switch_lsn.str(), "", 0};
        for (const WalRuns::Run& run : all) {
            if (run.timeline != left.parent || run.last < fork || run.last_at <= way.stored)
                continue;
            if (run.last == fork &&
                !has_commits_behind(repository, stanza, id, pass, runs.name(run.timeline, run.last),
                                    left.switch_lsn))
                continue;
            found.last = runs.name(run.timeline, run.last);
            found.last_stored = std::max(found.last_stored, run.last_at);
        }
        if (found.last_stored != 0 && !is_settled(found, backups))
            archive.divergences.push_back(std::move(found));
    }
}

}  // namespace chronos::ops::health
