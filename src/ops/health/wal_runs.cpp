#include "ops/health/wal_runs.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <set>

#include "chronos/pgdata/wal.h"

namespace chronos::ops::health {
namespace {

std::uint32_t from_hex8(std::string_view digits) {
    std::uint32_t value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return value;
}

/// Of 16 MiB each, which is what nearly every cluster has.
constexpr std::uint64_t kUsualPerDirectory = 256;

constexpr std::uint64_t kSegmentSizeMin = std::uint64_t{1} << 20;
constexpr std::uint64_t kSegmentSizeMax = std::uint64_t{1} << 30;

/// A timeline's positions that a backup needs.
struct Need {
    WalRuns::Run range;
    std::string label;
};

std::vector<Need> needs_of(const WalRuns& runs, const std::vector<repo::BackupEntry>& backups,
                           std::uint64_t history_id) {
    std::vector<Need> needs;
    for (const repo::BackupEntry& backup : backups) {
        if (backup.history_id != history_id) continue;
        const auto start = runs.position(backup.archive_start);
        const auto stop = runs.position(backup.archive_stop);
        // Across a promotion of a standby that was backed up the segments have two timelines.
        if (!start || !stop || start->timeline != stop->timeline) continue;
        needs.push_back({{start->timeline, start->first, stop->first, 0, 0}, backup.label});
    }
    return needs;
}

class GapFinder {
public:
    GapFinder(const WalRuns& runs, const repo::Timelines& timelines, std::vector<Need> needs)
        : runs_(runs), timelines_(timelines), needs_(std::move(needs)) {
        for (const Need& need : needs_) needed_.push_back(need.range);
        std::ranges::sort(needed_, {}, &WalRuns::Run::first);
    }

    std::vector<WalGap> find() {
        if (needs_.empty()) return {};
        const auto all = runs_.all();
        for (std::size_t i = 1; i < all.size(); ++i)
            if (all[i].timeline == all[i - 1].timeline)
                hole({all[i].timeline, all[i - 1].last + 1, all[i].first - 1, all[i - 1].last_at,
                      all[i].first_at});
        for (const Need& need : needs_) outside(all, need);
        for (const auto& [timeline, way] : timelines_.ways)
            along(all, timeline, pgdata::effective_switches(way.switches));
        return std::move(gaps_);
    }

private:
    void hole(const WalRuns::Run& missing) {
        std::uint64_t oldest = UINT64_MAX;
        bool before_backup = false, after_backup = false;
        std::string label;
        for (const Need& need : needs_) {
            if (need.range.timeline != missing.timeline) continue;
            oldest = std::min(oldest, need.range.first);
            before_backup = before_backup || missing.last + 1 == need.range.first;
            after_backup = after_backup || missing.first == need.range.last + 1;
            if (need.range.first <= missing.last && missing.first <= need.range.last)
                label = need.label;
        }
        // On a timeline without a backup all there is belongs to the window.
        const bool before_all = oldest != UINT64_MAX && missing.last < oldest;
        const bool between =
            before_backup && after_backup && !has_more_before(missing.timeline, missing.first);
        if (label.empty() && (before_all || between)) return;
        report(missing, label);
    }

    /// Whether WAL before a position is there that no backup needs: retention, which removes in the
    /// order of names, older timelines first, has not come as far.
    bool has_more_before(Timeline timeline, std::uint64_t position) const {
        for (const WalRuns::Run& run : runs_.all()) {
            const bool own = run.timeline == timeline;
            if (run.timeline > timeline || (own && run.first >= position)) continue;
            std::uint64_t at = run.first;
            for (const WalRuns::Run& need : needed_)
                if (need.timeline == run.timeline && need.first <= at)
                    at = std::max(at, need.last + 1);
            if (at <= (own ? std::min(run.last, position - 1) : run.last)) return true;
        }
        return false;
    }

    /// What a backup needs before the first and after the last segment of its timeline.
    void outside(const std::vector<WalRuns::Run>& all, const Need& need) {
        std::uint64_t first = UINT64_MAX, last = 0;
        for (const WalRuns::Run& run : all) {
            if (run.timeline != need.range.timeline) continue;
            first = std::min(first, run.first);
            last = std::max(last, run.last);
        }
        if (first > last) return report(need.range, need.label);
        const auto& [timeline, start, stop, from, until] = need.range;
        if (start < first) report({timeline, start, std::min(stop, first - 1), 0, 0}, need.label);
        if (stop > last) report({timeline, std::max(start, last + 1), stop, 0, 0}, need.label);
    }

    /// The part of a way on one timeline.
    struct Leg {
        std::uint32_t timeline = 0;
        std::uint64_t first = 0, last = 0;
    };
    std::vector<Leg> legs_to(const std::vector<WalRuns::Run>& all, Timeline target,
                             const std::vector<pgdata::TimelineSwitch>& way) const {
        std::vector<Leg> legs;
        std::uint64_t at = 0;
        for (const pgdata::TimelineSwitch& left : way) {
            // The segment of the fork is read from the timeline that begins there.
            const std::uint64_t fork = runs_.position_of(left.switch_lsn.value);
            if (fork > at) legs.push_back({left.parent, at, fork - 1});
            at = std::max(at, fork);
        }
        std::uint64_t last = 0;
        for (const WalRuns::Run& run : all)
            if (run.timeline == target) last = std::max(last, run.last);
        if (last >= at) legs.push_back({target, at, last});
        return legs;
    }

    /// What is missing on the way to a timeline, from the first backup that leads there on.
    void along(const std::vector<WalRuns::Run>& all, Timeline target,
               const std::vector<pgdata::TimelineSwitch>& way) {
        std::uint64_t start = UINT64_MAX;
        std::vector<const Need*> led;
        const std::vector<Leg> legs = legs_to(all, target, way);
        for (const Need& need : needs_)
            for (const Leg& leg : legs)
                if (need.range.timeline == leg.timeline && need.range.first >= leg.first &&
                    need.range.last <= leg.last + 1) {
                    start = std::min(start, need.range.first);
                    led.push_back(&need);
                }
        std::vector<WalRuns::Run> missing;  // of one hole
        for (const Leg& leg : legs) {
            std::uint64_t at = std::max(leg.first, start);
            for (const WalRuns::Run& run : all) {
                if (run.timeline != leg.timeline || run.last < at || run.first > leg.last) continue;
                if (run.first > at)
                    missing.push_back({leg.timeline, at, run.first - 1, 0, run.first_at});
                close(missing, led, run.first);
                at = run.last + 1;
            }
            if (at <= leg.last) missing.push_back({leg.timeline, at, leg.last, 0, 0});
        }
        close(missing, led, UINT64_MAX);
    }

    /// A hole ends before a position; one from the end of a backup to the start of another is what
    /// retention leaves, if it has also removed what is older.
    void close(std::vector<WalRuns::Run>& missing, const std::vector<const Need*>& led,
               std::uint64_t end) {
        if (missing.empty()) return;
        const std::uint64_t first = missing.front().first;
        const bool after_backup = std::ranges::any_of(
            led, [&](const Need* need) { return need->range.last + 1 == first; });
        const bool before_backup =
            std::ranges::any_of(led, [&](const Need* need) { return need->range.first == end; });
        const bool retention = after_backup && before_backup &&
                               !has_more_before(missing.front().timeline, missing.front().first);
        if (!retention)
            for (const WalRuns::Run& piece : missing) report(piece, "");
        missing.clear();
    }

    void report(const WalRuns::Run& missing, const std::string& label) {
        if (!reported_.emplace(missing.timeline, missing.first).second) return;
        gaps_.push_back({missing.first_at, missing.last_at,
                         runs_.name(missing.timeline, missing.first),
                         runs_.name(missing.timeline, missing.last),
                         missing.last - missing.first + 1, label, ""});
    }

    const WalRuns& runs_;
    const repo::Timelines& timelines_;
    std::vector<Need> needs_;
    std::vector<WalRuns::Run> needed_;  ///< ascending
    std::vector<WalGap> gaps_;
    std::set<std::pair<std::uint32_t, std::uint64_t>> reported_;
};

}  // namespace

std::uint32_t segment_low(std::string_view segment) {
    return from_hex8(segment.substr(16, 8));
}

std::string segment_name(std::string_view directory, std::uint32_t low) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08X", low);
    return std::string(directory) + digits;
}

void WalRuns::add(const std::string& directory, const std::vector<WalRun>& runs) {
    directories_[directory] = runs;
}

/// Whether a directory shows how many there are, because another one of its timeline follows.
bool WalRuns::is_followed() const {
    std::string_view former;
    for (const auto& [name, runs] : directories_) {
        if (runs.empty()) continue;
        if (former.substr(0, 8) == std::string_view(name).substr(0, 8)) return true;
        former = name;
    }
    return false;
}

std::uint64_t WalRuns::per_directory() const {
    if (segment_size_ != 0) return (std::uint64_t{1} << 32) / segment_size_;
    std::uint64_t largest = 0;
    for (const auto& [name, runs] : directories_)
        if (!runs.empty()) largest = std::max<std::uint64_t>(largest, runs.back().last);
    const std::uint64_t seen = std::bit_ceil(largest + 1);
    return is_followed() ? seen : std::max(kUsualPerDirectory, seen);
}

std::vector<WalRuns::Run> WalRuns::all() const {
    const std::uint64_t size = per_directory();
    std::vector<Run> result;
    for (const auto& [name, runs] : directories_) {
        const std::uint32_t timeline = from_hex8(std::string_view(name).substr(0, 8));
        const std::uint64_t base = from_hex8(std::string_view(name).substr(8, 8)) * size;
        for (const WalRun& run : runs) {
            const bool goes_on = !result.empty() && result.back().timeline == timeline &&
                                 result.back().last + 1 == base + run.first;
            if (!goes_on) result.push_back({timeline, base + run.first, 0, run.first_at, 0});
            result.back().last = base + run.last;
            result.back().last_at = run.last_at;
        }
    }
    return result;
}

std::optional<WalRuns::Run> WalRuns::position(std::string_view segment) const {
    if (!pgdata::is_wal_segment(segment)) return std::nullopt;
    const std::uint64_t at =
        from_hex8(segment.substr(8, 8)) * per_directory() + segment_low(segment);
    return Run{from_hex8(segment.substr(0, 8)), at, at, 0, 0};
}

std::uint64_t WalRuns::position_of(std::uint64_t lsn) const {
    return lsn / ((std::uint64_t{1} << 32) / per_directory());
}

std::string WalRuns::name(std::uint32_t timeline, std::uint64_t position) const {
    const std::uint64_t size = per_directory();
    char digits[25];
    std::snprintf(digits, sizeof digits, "%08X%08X%08X", timeline,
                  static_cast<unsigned>(position / size), static_cast<unsigned>(position % size));
    return digits;
}

std::optional<std::uint64_t> segment_size_of(const std::vector<repo::BackupEntry>& backups,
                                             std::uint64_t history_id) {
    std::set<std::uint64_t> sizes;
    for (const repo::BackupEntry& backup : backups) {
        if (backup.history_id != history_id || !backup.lsn_start ||
            !pgdata::is_wal_segment(backup.archive_start))
            continue;
        // The first of them begins at 0, whatever the size.
        const std::uint64_t number = segment_low(backup.archive_start);
        const std::uint64_t low = backup.lsn_start->value & 0xFFFFFFFFu;
        if (number == 0) continue;
        for (std::uint64_t size = kSegmentSizeMin; size <= kSegmentSizeMax; size *= 2)
            if (low / size == number) sizes.insert(size);
    }
    return sizes.size() == 1 ? std::optional(*sizes.begin()) : std::nullopt;
}

std::vector<WalGap> find_gaps(const WalRuns& runs, const std::vector<repo::BackupEntry>& backups,
                              const repo::Timelines& timelines, std::uint64_t history_id) {
    return GapFinder(runs, timelines, needs_of(runs, backups, history_id)).find();
}

}  // namespace chronos::ops::health
