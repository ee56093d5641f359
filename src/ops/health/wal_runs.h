#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/ops/health/health.h"
#include "chronos/repo/timelines.h"

namespace chronos::ops::health {

/// The last eight digits of a segment's name as a number.
std::uint32_t segment_low(std::string_view segment);
/// `directory` (sixteen digits) and the last eight.
std::string segment_name(std::string_view directory, std::uint32_t low);

/// Which segments an archive has, as runs without a hole.
///
/// How many segments are in 4 GiB of WAL, and so in a directory, depends on their size, which no
/// name tells. Whoever knows it says so; otherwise a directory that another one follows shows it,
/// being full, and as long as there is none it cannot matter but for positions.
class WalRuns {
public:
    /// Directories come in the order of their names.
    void add(const std::string& directory, const std::vector<WalRun>& runs);

    void set_segment_size(std::uint64_t size) { segment_size_ = size; }
    /// Whether position_of() does not guess.
    bool knows_segment_size() const { return segment_size_ != 0 || is_followed(); }

    struct Run {
        std::uint32_t timeline = 0;
        std::uint64_t first = 0;  ///< position on the timeline, in segments
        std::uint64_t last = 0;
        UnixTime first_at = 0;
        UnixTime last_at = 0;
    };
    std::vector<Run> all() const;
    /// nullopt if the name is not that of a segment.
    std::optional<Run> position(std::string_view segment) const;
    std::string name(std::uint32_t timeline, std::uint64_t position) const;
    /// Of the segment that holds the byte at an LSN.
    std::uint64_t position_of(std::uint64_t lsn) const;

private:
    std::uint64_t per_directory() const;
    bool is_followed() const;

    std::uint64_t segment_size_ = 0;  ///< 0: not known
    std::map<std::string, std::vector<WalRun>> directories_;
};

/// The size of the segments of that cluster: backup.info has position and segment of the start of
/// each backup. nullopt if no backup tells, or if they disagree.
std::optional<std::uint64_t> segment_size_of(const std::vector<repo::BackupEntry>& backups,
                                             std::uint64_t history_id);

/// Holes after the start of the oldest backup of the cluster. A hole between the end of one backup
/// and the start of the next is where retention has removed WAL; every other one is a loss. WAL
/// that a backup needs and that is not there at all is one too; and what is missing around a fork,
/// on the way of a backup to a later timeline.
std::vector<WalGap> find_gaps(const WalRuns& runs, const std::vector<repo::BackupEntry>& backups,
                              const repo::Timelines& timelines, std::uint64_t history_id);

}  // namespace chronos::ops::health
