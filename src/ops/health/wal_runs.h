#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/ops/health.h"
#include "chronos/repo/timelines.h"

namespace chronos::ops::health {

/// The last eight digits of a segment's name as a number.
std::uint32_t segment_low(std::string_view segment);
/// `directory` (sixteen digits) and the last eight.
std::string segment_name(std::string_view directory, std::uint32_t low);

/// Which segments an archive has, as runs without a hole.
///
/// How many segments are in 4 GiB of WAL, and so in a directory, depends on their size, which no
/// name tells: a directory that another one follows shows it, being full.
class WalRuns {
public:
    /// Directories come in the order of their names.
    void add(const std::string& directory, const std::vector<WalRun>& runs);

    struct Run {
        std::uint32_t timeline = 0;
        std::uint64_t first = 0;  ///< position on the timeline, in segments
        std::uint64_t last = 0;
        UnixTime first_at = 0;
        UnixTime last_at = 0;
    };
    std::vector<Run> all() const;
    /// Names and positions in a backup tell the size of segments, where there is only one
    /// directory.
    void learn_size(const std::vector<repo::BackupEntry>& backups);
    /// nullopt if the name is not that of a segment.
    std::optional<Run> position(std::string_view segment) const;
    std::string name(std::uint32_t timeline, std::uint64_t position) const;
    /// Of the segment that holds the byte at an LSN.
    std::uint64_t position_of(std::uint64_t lsn) const;

private:
    std::uint64_t per_directory() const;

    std::map<std::string, std::vector<WalRun>> directories_;
    std::uint64_t learned_ = 0;  ///< 0: no backup has told
};

/// Holes after the start of the oldest backup of the cluster. A hole between the end of one backup
/// and the start of the next is where retention has removed WAL; every other one is a loss. WAL
/// that a backup needs and that is not there at all is one too; and what is missing around a fork,
/// on the way of a backup to a later timeline.
std::vector<WalGap> find_gaps(const WalRuns& runs, const std::vector<repo::BackupEntry>& backups,
                              const repo::Timelines& timelines, std::uint64_t history_id);

}  // namespace chronos::ops::health
