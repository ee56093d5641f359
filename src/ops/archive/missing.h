#pragma once

#include "chronos/ops/archive/get.h"
#include "chronos/pgdata/recovery_state.h"
#include "chronos/pgdata/wal_extent.h"

namespace chronos::ops::archive {

inline constexpr ErrorKind kHole = ErrorKind::archive_timeout;

/// Whether the way of the recovery left the timeline before this segment. What was written there
/// later was given up by whoever began the next timeline.
bool is_behind_the_way(const pgdata::RecoveryState& recovery, const std::string& segment,
                       std::uint32_t segment_size);
/// How many bytes of the segment the way of the recovery has; nullopt: all.
std::optional<std::uint64_t> bytes_of_the_way(const pgdata::RecoveryState& recovery,
                                              const std::string& segment,
                                              std::uint32_t segment_size);
/// How many of them the server is given: it looks for a segment on every timeline that is not newer
/// than the one it wants, and replays what it finds, also what is behind the end of that timeline.
/// 0: it must be told that there is no such segment, though it may be there.
std::optional<std::uint64_t> bytes_to_give(const GetSettings& settings,
                                           const pgdata::RecoveryState& recovery,
                                           const std::string& segment, std::uint32_t segment_size);

/// What it means that no repository has `segment`, for the recovery in settings.pg_path.
///
/// Missing: the archive ends there, on this timeline. Kind kHole if later WAL of the timeline is
/// known, so that an end of the recovery would lose it; transient while the segment may still be
/// on its way, because those behind it have only just come. A standby gets "missing" with a
/// warning: it does not promote by itself, and its primary may have what the archive lacks.
Result<GetOutcome> judge_missing_segment(const GetSettings& settings, const std::string& segment);

/// The same for a segment that is there, but whose WAL ends before it does: an error where a
/// missing one would be one.
Result<> judge_unfinished_segment(const GetSettings& settings, const std::string& segment,
                                  const pgdata::WalExtent& extent);

/// The same for a timeline history. Found, if a later timeline's history tells what was in it, or
/// if the server needs no more than to know that the number is taken; kind kHole if WAL of the
/// timeline is there and nothing says where it comes from.
Result<GetOutcome> judge_missing_history(const GetSettings& settings, const std::string& name,
                                         const std::string& destination);

}  // namespace chronos::ops::archive
