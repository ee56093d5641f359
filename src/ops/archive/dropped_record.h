#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/stanza.h"

/// The record of DroppedWal as text: what a process wrote, of which the last line may be cut off.
namespace chronos::ops::archive {

/// A line of it: "<time> <system id> <version> <segment size> <segment>".
struct DroppedSegment {
    UnixTime time = 0;
    repo::ClusterIdentity cluster;
    std::uint32_t segment_size = 0;
    std::string segment;
};

/// With a line feed.
std::string format_dropped(const DroppedSegment& dropped);
/// Without one; nullopt if it is no line, or a part of one.
std::optional<DroppedSegment> parse_dropped(std::string_view line);

/// Lines that follow each other become one gap. What is no line is passed over.
std::vector<std::pair<repo::ClusterIdentity, repo::WalGap>> gaps_of(std::string_view record);

}  // namespace chronos::ops::archive
