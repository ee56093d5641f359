#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/lsn.h"
#include "chronos/repo/info.h"
#include "chronos/repo/repository.h"

/// The truth about the archive of a stanza: which WAL there is, what is missing, and to where each
/// backup can be recovered. From the names in the archive, one listing an archive; nothing but the
/// header of one segment and small notes (repo/side/wal_notes.h) is read.
namespace chronos::ops::windows {

struct Request {
    std::vector<repo::Repository> repositories;  ///< ascending key
    std::string stanza;
};

/// Where something lies.
struct Place {
    unsigned repo_key = 1;
    std::string archive_id;  ///< "15-1"
    bool operator==(const Place&) const = default;
};

/// Segments behind each other on one timeline, all of them stored.
struct StoredRange {
    Place place;
    Timeline timeline = 0;
    std::string first;
    std::string last;
    std::uint64_t count = 0;
    std::uint64_t stored_bytes = 0;
    UnixTime last_stored = 0;  ///< when the newest object was stored
};

/// Segments that are missing between others of the timeline, or before its first one.
struct MissingRange {
    Place place;
    Timeline timeline = 0;
    std::string first;
    std::string last;
    std::uint64_t count = 0;
    bool dropped = false;  ///< archive-push-queue-max did it, or some of it
    UnixTime dropped_until = 0;
};

/// Where a timeline comes from, as its history says.
struct TimelineOrigin {
    Place place;
    Timeline timeline = 0;
    Timeline parent = 0;
    Lsn switch_lsn;
};

/// To where a backup can be recovered on one timeline.
struct Window {
    enum class End {
        newest,   ///< of what the archive has
        gap,      ///< the next segment is missing, later ones are there
        unusable  ///< WAL of the backup itself is missing
    };
    Place place;
    std::string label;
    repo::BackupType type = repo::BackupType::full;
    Timeline timeline = 0;
    UnixTime from_time = 0;  ///< end of the backup
    Lsn from_lsn;
    std::string last_segment;           ///< "" if unusable
    Lsn to_lsn;                         ///< all WAL before it is there
    std::optional<std::int64_t> to_us;  ///< of the last commit known to be in it; since 1970 UTC
    bool streamed = false;              ///< the end is in a segment that is not complete yet
    End end = End::newest;
    bool starts_after_gap =
        false;  ///< the first backup behind missing WAL: no earlier one gets here
};

struct Report {
    std::vector<StoredRange> stored;
    std::vector<MissingRange> missing;
    std::vector<TimelineOrigin> timelines;
    std::vector<Window> windows;
};

std::string_view end_name(Window::End end);

/// A repository that cannot be read is a warning, unless none can: then its error.
Result<Report> look(const Request& request);

}  // namespace chronos::ops::windows
