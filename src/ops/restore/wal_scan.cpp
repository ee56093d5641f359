#include "ops/restore/wal_scan.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "chronos/base/text.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::restore {
namespace {

/// A part of the way on one timeline, by numbers of segments: [first, end).
struct Leg {
    Timeline timeline = 0;
    std::uint64_t first = 0;
    std::optional<std::uint64_t> end;
    std::optional<std::uint64_t> left;  ///< the segment in which the way leaves the timeline
    bool ends_where_left() const { return left && end == left; }
};

struct StoredSegment {
    std::uint64_t number = 0;
    UnixTime modified = 0;
};

std::uint64_t segment_number(std::string_view segment, std::uint32_t segment_size) {
    return pgdata::wal_segment_number(segment, segment_size);
}

std::string segment_name(Timeline timeline, std::uint64_t number, std::uint32_t segment_size) {
    return pgdata::wal_segment_name(timeline, Lsn{number * segment_size}, segment_size);
}

/// Segments of other timelines than the last are needed up to where the timeline was left. The
/// segment with that position is read from the new timeline, where PostgreSQL copied its start.
std::vector<Leg> legs_of(const WalScanRequest& request) {
    std::vector<Leg> legs;
    Leg leg{request.path->backup,
            segment_number(request.manifest->archive_start, request.segment_size), std::nullopt,
            std::nullopt};
    const auto& switches = request.path->switches;
    for (std::size_t i = 0; i < switches.size(); ++i) {
        const std::uint64_t at = switches[i].switch_lsn.value / request.segment_size;
        leg.left = at;
        if (request.until && request.until->value / request.segment_size < at) break;
        leg.end = at;
        legs.push_back(leg);
        const Timeline next =
            i + 1 < switches.size() ? switches[i + 1].parent : request.path->target;
        leg = {next, at, std::nullopt, std::nullopt};
    }
    if (request.until) leg.end = request.until->value / request.segment_size + 1;
    legs.push_back(leg);
    return legs;
}

/// Of which segments everything was streamed, and since when: archive-get puts them together. Their
/// own file may come late, or never if the server died first.
Result<std::map<std::string, UnixTime>> streamed_segments(const WalScanRequest& request) {
    std::map<std::string, UnixTime> whole;
    for (const ArchiveLocation& archive : request.archives) {
        auto pieces = CHRONOS_TRY(
            repo::list_wal_pieces(*archive.repository, request.stanza, archive.archive_id));
        for (const auto& [segment, joined] : repo::joined_by_segment(std::move(pieces)))
            if (joined.back().end == request.segment_size)
                whole.try_emplace(segment, joined.back().stored);
    }
    return whole;
}

/// Whether a segment is of the leg, or the one in which it is left.
bool is_of(const Leg& leg, std::uint64_t number) {
    return number >= leg.first &&
           (!leg.end || number < *leg.end || (leg.ends_where_left() && number == *leg.end));
}

/// What the archives hold of a leg, ascending, and of the segment in which it is left. Directories
/// before its first segment and of other timelines are not listed.
Result<std::vector<StoredSegment>> stored_segments(
    const WalScanRequest& request, const Leg& leg,
    const std::map<std::string, UnixTime>& streamed) {
    std::vector<StoredSegment> stored;
    for (const auto& [name, since] : streamed) {
        const std::uint64_t number = segment_number(name, request.segment_size);
        if (pgdata::timeline_of_segment(name) == leg.timeline && is_of(leg, number))
            stored.push_back({number, since});
    }
    char timeline[9];
    std::snprintf(timeline, sizeof timeline, "%08X", leg.timeline);
    const std::string first = segment_name(leg.timeline, leg.first, request.segment_size);
    for (const ArchiveLocation& archive : request.archives) {
        storage::Storage& storage = *archive.repository->storage;
        auto parts = CHRONOS_TRY(storage.list(archive.directory, timeline));
        std::erase_if(parts, [&](const storage::Entry& part) {
            return !repo::is_wal_directory(part.name) || part.name < repo::wal_directory(first);
        });
        constexpr std::size_t kAheadMax = 16;
        for (std::size_t i = 0; i < std::min(parts.size(), kAheadMax); ++i)
            storage.ask_ahead([&storage, directory = archive.directory + "/" + parts[i].name] {
                static_cast<void>(storage.list(directory));
            });
        for (const auto& part : parts) {
            for (const auto& entry :
                 CHRONOS_TRY(storage.list(archive.directory + "/" + part.name))) {
                if (!repo::is_archived_segment(entry)) continue;
                const std::uint64_t number = segment_number(entry.name, request.segment_size);
                if (is_of(leg, number)) stored.push_back({number, entry.modified});
            }
        }
    }
    std::sort(stored.begin(), stored.end(),
              [](const auto& a, const auto& b) { return a.number < b.number; });
    return stored;
}

class Scanner {
public:
    explicit Scanner(const WalScanRequest& request)
        : request_(request),
          stop_(segment_number(request.manifest->archive_stop.empty()
                                   ? request.manifest->archive_start
                                   : request.manifest->archive_stop,
                               request.segment_size)) {}

    Result<WalScan> run() {
        scan_.wal.first = request_.manifest->archive_start;
        const std::vector<Leg> legs = legs_of(request_);
        std::vector<std::vector<StoredSegment>> stored;
        stored.reserve(legs.size());
        const auto streamed = CHRONOS_TRY(streamed_segments(request_));
        for (const Leg& leg : legs)
            stored.push_back(CHRONOS_TRY(stored_segments(request_, leg, streamed)));
        for (std::size_t i = 0; i < legs.size(); ++i) {
            if (legs[i].ends_where_left() && is_copied(legs, stored, i))
                std::erase_if(stored[i],
                              [&](const auto& one) { return one.number == *legs[i].end; });
            walk(legs[i], stored[i]);
        }
        return std::move(scan_);
    }

private:
    /// Whether a timeline that begins in the segment where this leg is left has the segment: as
    /// long as none has, it is read here, up to the fork.
    static bool is_copied(const std::vector<Leg>& legs,
                          const std::vector<std::vector<StoredSegment>>& stored, std::size_t own) {
        for (std::size_t i = own + 1; i < legs.size() && legs[i].first == *legs[own].end; ++i)
            for (const StoredSegment& one : stored[i])
                if (one.number == legs[i].first) return true;
        return false;
    }

    void walk(const Leg& leg, const std::vector<StoredSegment>& stored) {
        std::uint64_t expected = leg.first;
        for (const StoredSegment& segment : stored) {
            add_gap(leg.timeline, expected, segment.number);
            if (segment.number < expected) continue;  // in several repositories
            expected = segment.number + 1;
            ++scan_.wal.count;
            scan_.wal.last = segment_name(leg.timeline, segment.number, request_.segment_size);
            scan_.wal.last_stored = segment.modified;
            if (segment.number > stop_) ++scan_.newer_count;
        }
        // Behind the last segment nothing is known to be missing, except what must exist because
        // a later timeline goes on there, or a backup ended there: this one or a later one.
        std::uint64_t known_end = leg.timeline == request_.path->backup ? stop_ + 1 : 0;
        if (leg.left) known_end = *leg.left;
        if (leg.timeline == request_.path->target)
            known_end = std::max(
                known_end, request_.timelines->segments_known(leg.timeline, request_.segment_size));
        if (leg.end) known_end = std::min(known_end, *leg.end);
        if (known_end > expected) add_gap(leg.timeline, expected, known_end);
    }

    void add_gap(Timeline timeline, std::uint64_t from, std::uint64_t to) {
        constexpr std::size_t kNamesMax = 16;
        for (; from < to; ++from) {
            const bool in_backup = timeline == request_.path->backup && from <= stop_;
            // A gap of a million segments is counted, not listed, and in a damaged manifest the
            // backup may end anywhere.
            if (scan_.wal.missing.size() >= kNamesMax &&
                (!in_backup || scan_.missing_in_backup.size() >= kNamesMax)) {
                scan_.wal.missing_count += to - from;
                return;
            }
            const std::string name = segment_name(timeline, from, request_.segment_size);
            if (request_.manifest->find_file("pg_data/pg_wal/" + name) != nullptr) continue;
            ++scan_.wal.missing_count;
            if (!in_backup && !scan_.hole)
                scan_.hole = {timeline, name, Lsn{from * request_.segment_size}};
            if (scan_.wal.missing.size() < kNamesMax) scan_.wal.missing.push_back(name);
            if (in_backup && scan_.missing_in_backup.size() < kNamesMax)
                scan_.missing_in_backup.push_back(name);
        }
    }

    const WalScanRequest& request_;
    std::uint64_t stop_;
    WalScan scan_;
};

}  // namespace

namespace {

/// The content of a segment from whichever archive can give it.
std::optional<std::string> read_segment(const WalScanRequest& request, const std::string& segment) {
    for (const ArchiveLocation& archive : request.archives) {
        const std::string directory =
            archive.directory + "/" + std::string(repo::wal_directory(segment));
        const auto listed = archive.repository->storage->list(directory, segment + "-");
        if (!listed || listed->empty()) continue;
        auto content = repo::read_archived_segment(
            *archive.repository, directory + "/" + listed->front().name, archive.cipher_pass);
        if (content) return *std::move(content);
    }
    return std::nullopt;
}

/// The segment of the way right before a position: where the position is the first of its timeline,
/// it is one of the timeline before.
std::string segment_before(const WalScanRequest& request, Lsn begin) {
    const std::uint64_t number = (begin.value - 1) / request.segment_size;
    Timeline timeline = request.path->backup;
    for (const Leg& leg : legs_of(request))
        if (leg.first <= number) timeline = leg.timeline;
    return segment_name(timeline, number, request.segment_size);
}

}  // namespace

BeforeHole look_before(const WalScanRequest& request, const WalScan::Hole& hole) {
    constexpr int kSegmentsMax = 4;
    BeforeHole before;
    Lsn begin = hole.begin;
    for (int i = 0; i < kSegmentsMax && begin.value > 0 && !before.commit; ++i) {
        const std::string segment = segment_before(request, begin);
        const Lsn end = begin;
        begin = pgdata::wal_segment_start(segment, request.segment_size);
        const auto content = read_segment(request, segment);
        if (!content) break;
        const std::string wal = pgdata::wal_before(io::bytes(*content), begin, end);
        before.commit = pgdata::last_commit(io::bytes(wal), begin);
        if (i == 0) before.record = pgdata::last_record(io::bytes(wal), begin).value_or(Lsn{});
    }
    return before;
}

Lsn last_record_of(const WalScanRequest& request, const std::string& segment) {
    const auto content = read_segment(request, segment);
    if (!content) return {};
    return pgdata::last_record(io::bytes(*content),
                               pgdata::wal_segment_start(segment, request.segment_size))
        .value_or(Lsn{});
}

Result<WalScan> scan_wal(const WalScanRequest& request) {
    return Scanner(request).run();
}

}  // namespace chronos::ops::restore
