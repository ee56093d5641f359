#include "chronos/ops/windows/windows.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/pgdata/wal_commits.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/stanza.h"
#include "chronos/repo/wal_archive.h"
#include "ops/windows/listing.h"

namespace chronos::ops::windows {
namespace {

/// Looks at one archive of one repository.
class Looker {
public:
    Looker(const repo::Repository& repository, const std::string& stanza, const Listing& listing,
           Report& report)
        : repository_(repository), stanza_(stanza), listing_(listing), report_(report) {}

    Result<> run(const std::vector<const repo::BackupEntry*>& backups) {
        gaps_ = CHRONOS_TRY(
            repo::list_gaps(repository_, stanza_, listing_.place.archive_id, listing_.cipher_pass));
        pieces_ =
            CHRONOS_TRY(repo::list_wal_pieces(repository_, stanza_, listing_.place.archive_id));
        add_ranges();
        for (const auto& [timeline, switches] : listing_.histories)
            if (!switches.empty())
                report_.timelines.push_back(
                    {listing_.place, timeline, switches.back().parent, switches.back().switch_lsn});
        for (const repo::BackupEntry* backup : backups) CHRONOS_TRY(add_windows(*backup));
        return {};
    }

private:
    void add_ranges();
    void add_missing(Timeline timeline, std::uint64_t from, std::uint64_t to);
    Result<> add_windows(const repo::BackupEntry& backup);
    /// How far the stored WAL of a way goes without a hole.
    struct Reach {
        Timeline on = 0;         ///< the timeline on which it ends
        std::uint64_t next = 0;  ///< the first segment that is not whole there
        Lsn end;
        bool hole = false;  ///< there is, or was, more behind
    };
    Reach reach(std::uint64_t start, Timeline from, Timeline target,
                const std::vector<pgdata::TimelineSwitch>& switches) const;
    Reach reach_on(Timeline timeline, std::uint64_t at) const;
    bool has_any(Timeline timeline, std::uint64_t first, std::uint64_t last) const;
    std::uint64_t segments_known(Timeline timeline) const {
        return listing_.timelines.segments_known(timeline, listing_.segment_size);
    }
    bool leaves_behind(const std::vector<pgdata::TimelineSwitch>& switches, Timeline from,
                       const repo::BackupEntry& backup) const;
    Result<> set_end(Window& window, const Reach& reach);
    Result<std::optional<std::int64_t>> last_commit(const Window& window, const Reach& reach);
    std::optional<std::int64_t> last_commit_in(const std::string& segment, Lsn from, Lsn to);
    std::optional<pgdata::WalCommit> look_into(const std::string& segment, Lsn to) const;
    void follow_stream(Window& window, std::uint64_t next) const;
    bool first_of_run(const Run& run, Timeline timeline, const repo::BackupEntry& backup) const;

    const repo::Repository& repository_;
    const std::string& stanza_;
    const Listing& listing_;
    Report& report_;
    std::vector<repo::WalGap> gaps_;
    std::vector<repo::WalPiece> pieces_;
    /// The last commits of segments up to where they were left: read once for all windows.
    std::map<std::pair<std::string, Lsn>, std::optional<pgdata::WalCommit>> cut_;
    std::vector<std::pair<Timeline, std::uint64_t>> seen_runs_;  ///< by their first segment
};

void Looker::add_ranges() {
    for (const auto& [timeline, runs] : listing_.runs) {
        // A timeline's own WAL begins with the segment in which the one before was left.
        const auto history = listing_.histories.find(timeline);
        std::uint64_t expected = runs.front().first;
        if (history != listing_.histories.end() && !history->second.empty())
            expected = history->second.back().switch_lsn.value / listing_.segment_size;
        // What expire removed is not missing: only a timeline whose parent is there must begin so.
        const bool parent_there =
            history != listing_.histories.end() && !history->second.empty() &&
            listing_.run_of(history->second.back().parent, expected - 1) != nullptr;
        if (!parent_there) expected = runs.front().first;
        for (const Run& run : runs) {
            if (run.first > expected) add_missing(timeline, expected, run.first);
            report_.stored.push_back({listing_.place, timeline, listing_.name(timeline, run.first),
                                      listing_.name(timeline, run.end - 1), run.end - run.first,
                                      run.stored_bytes, run.last_stored});
            expected = run.end;
        }
        const std::uint64_t known = segments_known(timeline);
        if (known > expected) add_missing(timeline, expected, known);
    }
}

void Looker::add_missing(Timeline timeline, std::uint64_t from, std::uint64_t to) {
    MissingRange missing{listing_.place,
                         timeline,
                         listing_.name(timeline, from),
                         listing_.name(timeline, to - 1),
                         to - from,
                         false,
                         0};
    for (const repo::WalGap& gap : gaps_) {
        if (gap.first > missing.last || gap.last < missing.first) continue;
        missing.dropped = true;
        missing.dropped_until = std::max(missing.dropped_until, gap.until);
    }
    report_.missing.push_back(std::move(missing));
}

bool Looker::leaves_behind(const std::vector<pgdata::TimelineSwitch>& switches, Timeline from,
                           const repo::BackupEntry& backup) const {
    for (const pgdata::TimelineSwitch& one : switches)
        if (one.parent == from) return backup.lsn_stop && one.switch_lsn >= *backup.lsn_stop;
    return false;
}

/// The end of the way is on this timeline: there later segments tell of more, and where another
/// timeline left it, and where a backup ended.
Looker::Reach Looker::reach_on(Timeline timeline, std::uint64_t at) const {
    const Run* run = listing_.run_of(timeline, at);
    const std::uint64_t next = run == nullptr ? at : run->end;
    const auto runs = listing_.runs.find(timeline);
    const bool hole = (runs != listing_.runs.end() && runs->second.back().first > next) ||
                      segments_known(timeline) > next;
    return {timeline, next, Lsn{next * listing_.segment_size}, hole};
}

/// Of the segments in which a timeline is on a way; what it wrote behind them is nothing of that
/// way.
bool Looker::has_any(Timeline timeline, std::uint64_t first, std::uint64_t last) const {
    const auto runs = listing_.runs.find(timeline);
    return runs != listing_.runs.end() && std::ranges::any_of(runs->second, [&](const Run& run) {
               return run.first <= last && run.end > first;
           });
}

Looker::Reach Looker::reach(std::uint64_t start, Timeline from, Timeline target,
                            const std::vector<pgdata::TimelineSwitch>& switches) const {
    const auto child_of = [&](std::size_t i) {
        return i + 1 < switches.size() ? switches[i + 1].parent : target;
    };
    std::uint64_t at = start;
    for (std::size_t i = 0; i < switches.size(); ++i) {
        const Timeline own = switches[i].parent;
        if (own < from) continue;
        const std::uint64_t left = switches[i].switch_lsn.value / listing_.segment_size;
        const Run* run = listing_.run_of(own, at);
        if (left > at && (run == nullptr || run->end < left)) {
            const std::uint64_t next = run == nullptr ? at : run->end;
            return {own, next, Lsn{next * listing_.segment_size}, true};
        }
        at = std::max(at, left);
        // A timeline that begins in the segment of the switch has a copy of what was before it.
        bool copied = false, goes_on = false;
        for (std::size_t j = i; j < switches.size(); ++j) {
            const std::uint64_t begin = switches[j].switch_lsn.value / listing_.segment_size;
            const bool begins_here = begin == left;
            copied = copied || (begins_here && listing_.run_of(child_of(j), left) != nullptr);
            const std::uint64_t until =
                j + 1 < switches.size() ? switches[j + 1].switch_lsn.value / listing_.segment_size
                                        : UINT64_MAX;
            goes_on = goes_on || has_any(child_of(j), begin, until) ||
                      std::min(segments_known(child_of(j)), until) > begin;
        }
        if (copied) continue;
        const bool whole = listing_.run_of(own, left) != nullptr;
        return {own, left, whole ? switches[i].switch_lsn : Lsn{left * listing_.segment_size},
                goes_on};
    }
    return reach_on(target, at);
}

Result<> Looker::add_windows(const repo::BackupEntry& backup) {
    if (backup.archive_start.empty() || !backup.lsn_stop || listing_.segment_size == 0) return {};
    const Timeline from = pgdata::timeline_of_segment(backup.archive_start);
    const std::uint64_t start = listing_.number(backup.archive_start);
    const std::uint64_t stop = listing_.number(backup.archive_stop);
    Window window;
    window.place = listing_.place;
    window.label = backup.label;
    window.type = backup.type;
    window.timeline = from;
    window.from_time = backup.timestamp_stop;
    window.from_lsn = *backup.lsn_stop;
    const Run* own = listing_.run_of(from, start);
    if (own == nullptr || own->end <= stop) {
        window.end = Window::End::unusable;
        report_.windows.push_back(std::move(window));
        return {};
    }
    window.starts_after_gap = first_of_run(*own, from, backup);
    seen_runs_.emplace_back(from, own->first);
    Window on_own = window;
    CHRONOS_TRY(set_end(on_own, reach_on(from, start)));
    report_.windows.push_back(std::move(on_own));
    for (const auto& [timeline, switches] : listing_.histories) {
        if (timeline == from || !leaves_behind(switches, from, backup)) continue;
        const Reach end = reach(start, from, timeline, switches);
        // The window of the timeline before tells of that.
        if (end.hole && end.on != timeline) continue;
        Window other = window;
        other.timeline = timeline;
        CHRONOS_TRY(set_end(other, end));
        report_.windows.push_back(std::move(other));
    }
    return {};
}

/// Whether WAL is missing right before the run, and no earlier backup is in it.
bool Looker::first_of_run(const Run& run, Timeline timeline,
                          const repo::BackupEntry& backup) const {
    const std::vector<Run>& runs = listing_.runs.at(timeline);
    if (&run == &runs.front()) return false;
    return std::ranges::find(seen_runs_, std::pair(timeline, run.first)) == seen_runs_.end() &&
           !backup.archive_start.empty();
}

Result<> Looker::set_end(Window& window, const Reach& reach) {
    const std::uint64_t last = (reach.end.value - 1) / listing_.segment_size;
    window.last_segment = listing_.name(reach.on, last);
    window.to_lsn = reach.end;
    window.to_us = CHRONOS_TRY(last_commit(window, reach));
    if (reach.hole)
        window.end = Window::End::gap;
    else
        follow_stream(window, reach.next);
    return {};
}

/// By the notes of the last segments. One that is read up to a fork is looked into if its note is
/// of a commit behind that: what is before the fork can be recovered all the same.
Result<std::optional<std::int64_t>> Looker::last_commit(const Window& window, const Reach& reach) {
    const std::uint64_t last = listing_.number(window.last_segment);
    const Run* run = listing_.run_of(reach.on, last);
    if (run == nullptr) return std::optional<std::int64_t>{};
    for (std::uint64_t end = last + 1; end > run->first && end + 1 > last; --end) {
        const auto note = CHRONOS_TRY(repo::last_commit_note(
            repository_, stanza_, listing_.place.archive_id, listing_.name(reach.on, run->first),
            listing_.name(reach.on, end - 1), listing_.cipher_pass));
        if (note && note->end >= window.from_lsn && note->end <= window.to_lsn)
            return std::optional(note->time_us);
        if (note && note->segment == window.last_segment && note->end > window.to_lsn)
            if (const auto before = last_commit_in(note->segment, window.from_lsn, window.to_lsn))
                return before;
    }
    return std::optional<std::int64_t>{};
}

/// The last commit of what is stored of a segment between `from` and `to`. It is for information:
/// what cannot be read has none, and an earlier note is taken.
std::optional<std::int64_t> Looker::last_commit_in(const std::string& segment, Lsn from, Lsn to) {
    const auto [known, added] = cut_.try_emplace({segment, to});
    if (added) known->second = look_into(segment, to);
    const std::optional<pgdata::WalCommit>& commit = known->second;
    if (!commit || commit->end < from) return std::nullopt;
    return commit->time_us;
}

std::optional<pgdata::WalCommit> Looker::look_into(const std::string& segment, Lsn to) const {
    const auto stored =
        repo::find_archived_segment(repository_, stanza_, listing_.place.archive_id, segment);
    if (!stored || !*stored) return std::nullopt;
    const auto content =
        repo::read_archived_segment(repository_, (*stored)->object, listing_.cipher_pass);
    if (!content) return std::nullopt;
    const Lsn start{listing_.number(segment) * listing_.segment_size};
    return pgdata::last_commit_before(io::bytes(*content), start, to);
}

/// Behind the last whole segment goes on what was streamed.
void Looker::follow_stream(Window& window, std::uint64_t next) const {
    for (;; ++next) {
        const std::string name = listing_.name(window.timeline, next);
        std::vector<repo::WalPiece> pieces;
        std::ranges::copy_if(pieces_, std::back_inserter(pieces),
                             [&](const repo::WalPiece& piece) { return piece.segment == name; });
        const std::vector<repo::WalPiece> chain = repo::joined_pieces(pieces);
        if (chain.empty()) return;
        window.streamed = true;
        window.to_lsn = Lsn{next * listing_.segment_size + chain.back().end};
        for (const repo::WalPiece& piece : chain)
            if (piece.commit_us != 0) window.to_us = piece.commit_us;
        if (chain.back().end < listing_.segment_size) return;
    }
}

/// Backups are missing where backup.info is: a stanza that only archives has none yet.
Result<repo::BackupInfo> load_backups(const repo::Repository& repository,
                                      const std::string& stanza) {
    auto info = repo::load_backup_info(repository, stanza);
    if (!info && info.error().kind() == ErrorKind::not_found) return repo::BackupInfo{};
    return info;
}

Result<> look_at_repository(const repo::Repository& repository, const std::string& stanza,
                            Report& report) {
    const repo::ArchiveInfo info = CHRONOS_TRY(repo::load_archive_info(repository, stanza));
    const repo::BackupInfo backups = CHRONOS_TRY(load_backups(repository, stanza));
    if (const auto known = repo::check_archive_ids(info, backups); !known)
        return Error(known.error()).with_hint(repo::repair_hint(stanza));
    for (const repo::HistoryEntry& entry : info.history) {
        Listing listing =
            CHRONOS_TRY(list_archive(repository, stanza, entry.archive_id(), info.cipher_pass));
        std::vector<const repo::BackupEntry*> own;
        for (const repo::BackupEntry& backup : backups.backups)
            if (backup.history_id == entry.id) own.push_back(&backup);
        for (const repo::BackupEntry* backup : own) listing.timelines.add_backup(*backup);
        CHRONOS_TRY(Looker(repository, stanza, listing, report).run(own));
    }
    return {};
}

}  // namespace

std::string_view end_name(Window::End end) {
    switch (end) {
        case Window::End::newest: return "newest";
        case Window::End::gap: return "gap";
        case Window::End::unusable: return "unusable";
    }
    return "newest";
}

Result<Report> look(const Request& request) {
    Report report;
    std::optional<Error> failed;
    std::size_t failures = 0;
    for (const repo::Repository& repository : request.repositories) {
        Result<> looked = look_at_repository(repository, request.stanza, report);
        if (looked) continue;
        ++failures;
        failed = std::move(looked).error().while_doing("look at the archive in repo" +
                                                       std::to_string(repository.key));
        if (request.repositories.size() > 1) log_warn(failed->text());
    }
    if (failed && failures == request.repositories.size()) return *std::move(failed);
    return report;
}

}  // namespace chronos::ops::windows
