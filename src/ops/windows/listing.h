#pragma once

#include <map>
#include <optional>
#include <vector>

#include "chronos/ops/windows/windows.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/timelines.h"

namespace chronos::ops::windows {

/// Stored segments by number (position in the WAL, counted in segments), [first, end).
struct Run {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
    std::uint64_t stored_bytes = 0;
    UnixTime last_stored = 0;
};

/// What one archive of a repository holds, from its names.
struct Listing {
    Place place;
    std::string cipher_pass;
    std::uint32_t segment_size = 0;             ///< 0: there are no segments
    std::map<Timeline, std::vector<Run>> runs;  ///< ascending
    repo::Timelines timelines;
    /// The way to each timeline: where the ones before it were really left, oldest first.
    std::map<Timeline, std::vector<pgdata::TimelineSwitch>> histories;

    std::string name(Timeline timeline, std::uint64_t number) const;
    std::uint64_t number(std::string_view segment) const;
    /// The run with that segment, nullptr if it is not stored.
    const Run* run_of(Timeline timeline, std::uint64_t number) const;
};

Result<Listing> list_archive(const repo::Repository& repository, const std::string& stanza,
                             const std::string& archive_id, const std::string& cipher_pass);

}  // namespace chronos::ops::windows
