#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/lsn.h"
#include "chronos/base/result.h"
#include "chronos/io/stream.h"

namespace chronos::pgdata {

inline constexpr std::size_t kWalHeaderSize = 512;  ///< how much parse_wal_header() wants

inline constexpr std::size_t kWalSegmentNameSize = 24;

struct WalHeader {
    std::string version;  ///< "15"
    std::uint64_t system_id = 0;
    std::uint32_t segment_size = 0;
    Timeline timeline = 0;
    Lsn page_address;
};
/// Of the first page of a segment. Kinds: format (no long header), version_not_supported (magic).
Result<WalHeader> parse_wal_header(io::Bytes content);

/// "000000010000000000000003": the segment that holds the byte at `lsn`.
std::string wal_segment_name(Timeline timeline, Lsn lsn, std::uint32_t segment_size);
/// The segment that holds the last byte before `lsn`: what a backup ending at `lsn` needs.
std::string wal_segment_name_before(Timeline timeline, Lsn lsn, std::uint32_t segment_size);
std::string next_wal_segment(std::string_view segment, std::uint32_t segment_size);
Timeline timeline_of_segment(std::string_view segment);
/// Position of a segment (or partial segment) in the WAL, counted in segments; of its first byte.
std::uint64_t wal_segment_number(std::string_view segment, std::uint32_t segment_size);
Lsn wal_segment_start(std::string_view segment, std::uint32_t segment_size);
/// All segments from `first` to `last`, both included, on one timeline; at most `count_max`.
Result<std::vector<std::string>> wal_segment_range(std::string_view first, std::string_view last,
                                                   std::uint32_t segment_size,
                                                   std::size_t count_max = 1u << 20);

bool is_wal_segment(std::string_view name);       ///< that many upper-case hexadecimal digits
bool is_wal_partial(std::string_view name);       ///< segment + ".partial"
bool is_backup_history(std::string_view name);    ///< segment + ".00000028.backup"
bool is_timeline_history(std::string_view name);  ///< "00000002.history"

/// A line of a timeline history file: `parent` was left at `switch_lsn`.
struct TimelineSwitch {
    Timeline parent = 0;
    Lsn switch_lsn;
    bool operator==(const TimelineSwitch&) const = default;
};
Result<std::vector<TimelineSwitch>> parse_timeline_history(std::string_view text);
/// Up to where each of them is really on the way. PostgreSQL writes down the timeline that a
/// recovery was to follow, also if it ended before that one was reached: a later line may then have
/// an earlier position, and nothing behind it counts, of whatever timeline.
std::vector<TimelineSwitch> effective_switches(std::vector<TimelineSwitch> switches);
/// The name of the history file of a timeline: "00000002.history".
std::string timeline_history_name(Timeline timeline);

/// Whether a file of `size_bytes` with that header can be the segment (or partial segment) `name`.
/// A recycled segment has the header of an old one in its later pages only, so that is no reason to
/// refuse it. The first segment of a timeline begins as a copy of its parent's, with the parent's
/// timeline in its header: `begins` is the number of that segment, where it is known. Kind
/// archive_mismatch.
Result<> check_wal_segment(const WalHeader& header, std::string_view name, std::uint64_t size_bytes,
                           std::optional<std::uint64_t> begins = std::nullopt);

}  // namespace chronos::pgdata
