// Idea: WAL is a tree. A Line is one timeline, counted in segments; a history says where a later
// one leaves it. What must be without a hole is (a) from start to stop of each backup, the Needs,
// else the backup cannot become consistent; and (b) with windows, from the first backup of a line,
// or from where the line begins if a backup of an older one can go on to it, to the last segment
// that any way goes through: the Window.
//
//         need A          need B
//     ----[====]----------[====]---------------+------------->  line 1
//         ^ window.first                       |
//                                              +------------->  line 2: window from the fork on
//
// Holes of both kinds are merged, so that one hole is reported once, with all who suffer from it.
//
// A hole is not always damage. Archive retention removes what lies between two backups: then it
// begins right behind a need and ends right before one, and nothing older that nobody needs is left
// (retention goes in the order of names, so that older leftovers would be gone first). At the ends
// of a window the neighbour is on another line: expired_before and expired_behind ask it there.
// Segments arrive several at a time and not in order: a hole is looked at again before it is
// reported (arrived), and one right before a segment of this minute is a note.
//
// Invariant: the segments and needs of a line are ascending. Only names are looked at, so a segment
// that is there and damaged is no hole; reading has found that, and report_damage() says who
// suffers from it.
#include "ops/verify/continuity.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "chronos/repo/timelines.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::verify {
namespace {

/// A position in the WAL counted in segments.
using Number = std::uint64_t;

/// Both ends included.
struct Span {
    Number first = 0;
    Number last = 0;
};

struct Need {
    const WalNeed* need = nullptr;
    Span span;
};

/// What there is of one timeline.
struct Line {
    std::vector<std::pair<Number, const WalSegment*>> segments;  ///< ascending
    std::vector<Need> needs;                                     ///< ascending by start
};

/// The part of a timeline that must be without a hole.
struct Window {
    Number first = 0;
    Number last = 0;
    /// What is next to it on the timeline it comes from, and on those that begin at its end: there
    /// as well nothing is left, up to a backup, if retention was here.
    bool expired_before = false;
    bool expired_behind = false;
};

std::string timeline_text(Timeline timeline) {
    char text[16];
    std::snprintf(text, sizeof text, "%08X", timeline);
    return text;
}

class Continuity {
public:
    Continuity(const Scope& scope, const WalArchive& archive, const std::vector<WalNeed>& needs)
        : scope_(scope), archive_(archive), size_(archive.segment_size) {
        for (const WalSegment& segment : archive.segments)
            lines_[pgdata::timeline_of_segment(segment.name)].segments.push_back(
                {number_of(segment.name), &segment});
        std::set<Timeline> with_wal;
        for (const auto& [timeline, line] : lines_) with_wal.insert(timeline);
        wanted_ = repo::histories_wanted(std::move(with_wal));
        for (const WalNeed& need : needs) {
            if (need.history_id != archive.history_id || !pgdata::is_wal_segment(need.start) ||
                !pgdata::is_wal_segment(need.stop))
                continue;
            lines_[pgdata::timeline_of_segment(need.start)].needs.push_back(
                {&need, {number_of(need.start), number_of(need.stop)}});
        }
        // Of a timeline that others go through nothing at all may be left.
        for (const auto& [timeline, way] : archive.histories)
            for (const pgdata::TimelineSwitch& line : way) lines_[line.parent];
        for (auto& [timeline, line] : lines_) {
            std::ranges::sort(line.needs, {}, [](const Need& need) { return need.span.first; });
            assert(std::ranges::is_sorted(line.segments, {},
                                          [](const auto& one) { return one.first; }));
        }
    }

    Result<std::set<std::string>> run(bool windows) {
        if (windows)
            for (const auto& [timeline, way] : archive_.histories) {
                const auto line = lines_.find(timeline);
                check_origin(timeline, line == lines_.end() ? Line{} : line->second);
            }
        for (auto& [timeline, line] : lines_) {
            CHRONOS_TRY(scope_.cancel.check());
            if (windows) check_history(timeline);
            const auto window = windows ? window_of(timeline, line) : std::nullopt;
            report_damage(timeline, line, window);
            std::vector<Span> holes;
            for (const Need& need : line.needs)
                if (need.need->wanted) add_holes(line, need.span, holes);
            if (window) add_holes(line, {window->first, window->last}, holes);
            for (const Span& hole : merged(std::move(holes)))
                CHRONOS_TRY(report_hole(timeline, line, window, hole));
        }
        return std::move(unusable_);
    }

private:
    Number number_of(const std::string& segment) const {
        const Number log = std::stoull(segment.substr(8, 8), nullptr, 16);
        const Number part = std::stoull(segment.substr(16, 8), nullptr, 16);
        return log * ((Number{1} << 32) / size_) + part;
    }
    std::string name_of(Timeline timeline, Number number) const {
        return pgdata::wal_segment_name(timeline, Lsn{number * size_}, size_);
    }

    void check_history(Timeline timeline) {
        if (!wanted_.contains(timeline) || archive_.histories.contains(timeline)) return;
        const std::string name = timeline_text(timeline) + ".history";
        if (!reported_.insert(name).second) return;
        scope_.findings.fail({archive_.id, name}, Problem::missing,
                             "the history of a timeline with WAL in the archive is missing",
                             "recovery cannot go from an older timeline to timeline " +
                                 std::to_string(timeline) + way_out(timeline));
    }

    /// What mends the lost history of a timeline.
    std::string way_out(Timeline timeline) const {
        const bool told = std::ranges::any_of(archive_.histories, [&](const auto& later) {
            return std::ranges::find(later.second, timeline, &pgdata::TimelineSwitch::parent) !=
                   later.second.end();
        });
        return told ? ": a later history contains it, and 'chronos --stanza=" + scope_.stanza() +
                          " repair --force' puts it back"
                    : ": push it again with archive-push, from pg_wal of a server that was on it";
    }

    /// A history that tells another origin of its timeline than the WAL, or than a later history
    /// does, is that of another server: a recovery would take the wrong branch.
    void check_origin(Timeline timeline, const Line& line) {
        const auto history = archive_.histories.find(timeline);
        if (history == archive_.histories.end() || history->second.empty()) return;
        const pgdata::TimelineSwitch& origin = history->second.back();
        if (!line.segments.empty() && line.segments.front().first < origin.switch_lsn.value / size_)
            contradict(timeline, "it says that the timeline begins at " + origin.switch_lsn.str() +
                                     ", but the archive has " + line.segments.front().second->name);
        for (const auto& [later, way] : archive_.histories) {
            const auto own = std::ranges::find(way, timeline, &pgdata::TimelineSwitch::parent);
            if (own == way.end()) continue;
            // One that ended before it had reached this timeline cuts those before it as well.
            const Lsn end = own->switch_lsn;
            const auto same = [end](const pgdata::TimelineSwitch& theirs,
                                    const pgdata::TimelineSwitch& ours) {
                return theirs.parent == ours.parent &&
                       theirs.switch_lsn == std::min(ours.switch_lsn, end);
            };
            if (!std::equal(way.begin(), own, history->second.begin(), history->second.end(), same))
                contradict(timeline, "the history of timeline " + std::to_string(later) +
                                         " tells another origin of it");
        }
    }

    void contradict(Timeline timeline, const std::string& what) {
        const std::string name = timeline_text(timeline) + ".history";
        if (!reported_.insert(name).second) return;
        scope_.findings.fail(
            {archive_.id, name}, Problem::other, what,
            "recovery to timeline " + std::to_string(timeline) + " would take the wrong branch");
    }

    /// Whether a backup of an older timeline can go on to this one: it ended before the switch.
    bool reached_from_elsewhere(Timeline timeline) const {
        const auto history = archive_.histories.find(timeline);
        if (history == archive_.histories.end()) return false;
        return std::ranges::any_of(history->second, [&](const pgdata::TimelineSwitch& line) {
            const auto parent = lines_.find(line.parent);
            return parent != lines_.end() && !parent->second.needs.empty() &&
                   parent->second.needs.front().span.last <= line.switch_lsn.value / size_;
        });
    }

    std::optional<Window> window_of(Timeline timeline, const Line& line) const {
        Window window;
        if (reached_from_elsewhere(timeline)) {
            const auto& way = archive_.histories.at(timeline);
            window.first = way.back().switch_lsn.value / size_;
            window.expired_before = window.first > 0 && is_expired_up_to(way, window.first - 1);
        } else if (!line.needs.empty()) {
            window.first = line.needs.front().span.first;
        } else {
            return std::nullopt;
        }
        // Of the segment in which a timeline begins the copy of one that begins in it later does.
        std::optional<Number> last;
        if (!line.segments.empty())
            last = std::max(window.first, line.segments.back().first);
        else if (!line.needs.empty())
            last = window.first;
        for (const auto& [other, history] : archive_.histories) {
            for (std::size_t i = 0; i < history.size(); ++i) {
                const Number at = history[i].switch_lsn.value / size_;
                if (history[i].parent != timeline || at <= (last ? *last + 1 : window.first))
                    continue;
                last = at - 1;
                window.expired_behind = resumes_with_backup(other, history, i, at);
            }
        }
        if (!last) return std::nullopt;
        window.last = *last;
        return window;
    }

    /// Whether a segment on the way to a timeline is not there, or is the last one of a backup.
    bool is_expired_up_to(const std::vector<pgdata::TimelineSwitch>& way, Number number) const {
        const auto left = std::ranges::find_if(way, [&](const pgdata::TimelineSwitch& line) {
            return line.switch_lsn.value / size_ > number;
        });
        if (left == way.end() || !has(left->parent, number)) return true;
        return std::ranges::any_of(lines_.at(left->parent).needs,
                                   [number](const Need& need) { return need.span.last == number; });
    }

    /// Whether the first segment of a way that is there from a fork on is the start of a backup.
    bool resumes_with_backup(Timeline target, const std::vector<pgdata::TimelineSwitch>& way,
                             std::size_t fork, Number at) const {
        for (std::size_t i = fork; i < way.size(); ++i) {
            const bool last = i + 1 == way.size();
            const auto line = lines_.find(last ? target : way[i + 1].parent);
            if (line == lines_.end()) continue;
            const auto first = std::ranges::lower_bound(
                line->second.segments, at, {}, [](const auto& segment) { return segment.first; });
            if (first == line->second.segments.end() ||
                (!last && first->first >= way[i + 1].switch_lsn.value / size_))
                continue;
            return std::ranges::any_of(line->second.needs, [&](const Need& need) {
                return need.span.first == first->first;
            });
        }
        return false;
    }

    bool has(Timeline timeline, Number number) const {
        const auto line = lines_.find(timeline);
        if (line == lines_.end()) return false;
        const auto at = std::ranges::lower_bound(line->second.segments, number, {},
                                                 [](const auto& segment) { return segment.first; });
        return at != line->second.segments.end() && at->first == number;
    }

    static void add_holes(const Line& line, Span span, std::vector<Span>& holes) {
        Number expected = span.first;
        auto at = std::ranges::lower_bound(line.segments, span.first, {},
                                           [](const auto& segment) { return segment.first; });
        for (; at != line.segments.end() && at->first <= span.last; ++at) {
            if (at->first > expected) holes.push_back({expected, at->first - 1});
            expected = at->first + 1;
        }
        if (expected <= span.last) holes.push_back({expected, span.last});
    }

    /// A hole that a backup needs is also one of the window around it.
    static std::vector<Span> merged(std::vector<Span> holes) {
        std::ranges::sort(holes, {}, &Span::first);
        std::vector<Span> result;
        for (const Span& hole : holes) {
            if (!result.empty() && hole.first <= result.back().last + 1)
                result.back().last = std::max(result.back().last, hole.last);
            else
                result.push_back(hole);
        }
        return result;
    }

    /// Backups that need a segment of the span and do not hold it themselves.
    std::vector<const WalNeed*> sufferers(Timeline timeline, const Line& line, Span span) const {
        std::vector<const WalNeed*> result;
        for (const Need& need : line.needs) {
            const Number first = std::max(need.span.first, span.first);
            const Number last = std::min(need.span.last, span.last);
            bool held = true;
            for (Number number = first; number <= last && held; ++number)
                held = std::ranges::find(need.need->own, name_of(timeline, number)) !=
                       need.need->own.end();
            if (!held) result.push_back(need.need);
        }
        return result;
    }

    void blame(FindingId id, const std::vector<const WalNeed*>& sufferers) {
        for (const WalNeed* need : sufferers) {
            scope_.findings.affect(id, need->label);
            unusable_.insert(need->label);
        }
    }

    std::string stops_at(Timeline timeline, Number number) const {
        std::string last;
        for (const Need& need : lines_.at(timeline).needs)
            if (need.span.last < number) last = need.need->label;
        const std::string whose = last.empty() ? "" : " from backup " + last + " and older ones";
        return "recovery on timeline " + std::to_string(timeline) + whose + " cannot go beyond " +
               Lsn{number * size_}.str();
    }

    /// Segments that reading has found damaged.
    void report_damage(Timeline timeline, const Line& line, const std::optional<Window>& window) {
        for (const auto& [number, segment] : line.segments) {
            if (segment->finding == kNoFinding) continue;
            const auto suffering = sufferers(timeline, line, {number, number});
            blame(segment->finding, suffering);
            if (!suffering.empty()) continue;
            const bool in_window = window && number >= window->first;
            scope_.findings.explain(segment->finding,
                                    in_window ? stops_at(timeline, number) : "no backup needs it");
        }
    }

    /// Whether WAL before a position is there that no backup needs: retention, which removes in the
    /// order of names, older timelines first, has not come as far.
    bool has_more_before(Timeline timeline, Number position) const {
        for (const auto& [older, line] : lines_) {
            if (older > timeline) break;
            for (const auto& [number, segment] : line.segments) {
                if (older == timeline && number >= position) break;
                const bool needed =
                    std::ranges::any_of(line.needs, [number = number](const Need& need) {
                        return need.span.first <= number && number <= need.span.last;
                    });
                if (!needed) return true;
            }
        }
        return false;
    }

    /// What archive retention leaves between backups.
    bool is_expired(Timeline timeline, const Line& line, const Window& window, Span hole) const {
        if (has_more_before(timeline, hole.first)) return false;
        const bool begins = (window.expired_before && hole.first == window.first) ||
                            std::ranges::any_of(line.needs, [&](const Need& need) {
                                return need.span.last + 1 == hole.first;
                            });
        const bool ends = (window.expired_behind && hole.last == window.last) ||
                          std::ranges::any_of(line.needs, [&](const Need& need) {
                              return need.span.first == hole.last + 1;
                          });
        return begins && ends;
    }

    Result<> report_hole(Timeline timeline, const Line& line, const std::optional<Window>& window,
                         Span hole) {
        const auto suffering = sufferers(timeline, line, hole);
        const std::string text = hole_text(timeline, hole);
        if (suffering.empty() && window && is_expired(timeline, line, *window, hole)) {
            scope_.findings.note({archive_.id, ""}, text + ", as archive retention leaves it");
            return {};
        }
        const bool in_backup = covered(line, hole);
        if (suffering.empty() && in_backup) return {};
        if (CHRONOS_TRY(arrived(timeline, hole))) return {};
        if (suffering.empty() && may_arrive(line, hole)) {
            scope_.findings.note({archive_.id, ""}, text + ", which may still be on the way");
            return {};
        }
        const FindingId id =
            scope_.findings.fail({archive_.id, name_of(timeline, hole.first)}, Problem::missing,
                                 text, stops_at(timeline, hole.first));
        blame(id, suffering);
        return {};
    }

    std::string hole_text(Timeline timeline, Span hole) const {
        const std::string first = name_of(timeline, hole.first);
        if (hole.first == hole.last) return "WAL segment " + first + " is missing";
        return "WAL segments " + first + " to " + name_of(timeline, hole.last) + " are missing (" +
               std::to_string(hole.last - hole.first + 1) + ")";
    }

    /// The hole lies in what a backup needs and holds itself: nobody misses it.
    static bool covered(const Line& line, Span hole) {
        return std::ranges::any_of(line.needs, [&](const Need& need) {
            return need.span.first <= hole.first && hole.last <= need.span.last;
        });
    }

    Result<bool> arrived(Timeline timeline, Span hole) {
        const auto found = CHRONOS_TRY(repo::list_archived_segment(
            scope_.repository, scope_.stanza(), archive_.id, name_of(timeline, hole.first)));
        return !found.empty();
    }

    /// The segment behind the hole was archived just now, perhaps beside the one that is missing.
    static bool may_arrive(const Line& line, Span hole) {
        constexpr UnixTime kJustNow = 60;
        const auto behind = std::ranges::lower_bound(
            line.segments, hole.last, {}, [](const auto& segment) { return segment.first; });
        return behind != line.segments.end() &&
               std::abs(unix_now() - behind->second->modified) < kJustNow;
    }

    const Scope& scope_;
    const WalArchive& archive_;
    const std::uint32_t size_;
    std::map<Timeline, Line> lines_;
    std::set<Timeline> wanted_;  ///< whose history must be there
    std::set<std::string> reported_;
    std::set<std::string> unusable_;
};

}  // namespace

Result<std::set<std::string>> check_continuity(const Scope& scope, const WalArchive& archive,
                                               const std::vector<WalNeed>& needs, bool windows) {
    return Continuity(scope, archive, needs).run(windows);
}

}  // namespace chronos::ops::verify
