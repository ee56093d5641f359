#include "ops/archive/dropped_record.h"

#include "chronos/base/text.h"
#include "chronos/pgdata/wal.h"

namespace chronos::ops::archive {

std::string format_dropped(const DroppedSegment& dropped) {
    return std::to_string(dropped.time) + " " + std::to_string(dropped.cluster.system_id) + " " +
           dropped.cluster.version + " " + std::to_string(dropped.segment_size) + " " +
           dropped.segment + "\n";
}

std::optional<DroppedSegment> parse_dropped(std::string_view line) {
    const std::vector<std::string_view> words = split(line, ' ');
    if (words.size() != 5 || !pgdata::is_wal_segment(words[4])) return std::nullopt;
    const auto time = parse_unix_time(words[0]);
    const auto system_id = parse_uint(words[1]);
    const auto size = parse_uint(words[3]);
    if (!time || !system_id || !size || *size == 0 || *size > UINT32_MAX) return std::nullopt;
    DroppedSegment dropped;
    dropped.time = *time;
    dropped.cluster.system_id = *system_id;
    dropped.cluster.version = words[2];
    dropped.segment_size = static_cast<std::uint32_t>(*size);
    dropped.segment = words[4];
    return dropped;
}

std::vector<std::pair<repo::ClusterIdentity, repo::WalGap>> gaps_of(std::string_view record) {
    std::vector<std::pair<repo::ClusterIdentity, repo::WalGap>> gaps;
    std::uint64_t system_id = 0;
    for (const std::string_view raw : split(record, '\n')) {
        const std::optional<DroppedSegment> line = parse_dropped(raw);
        if (!line) continue;
        if (!gaps.empty() && system_id == line->cluster.system_id) {
            repo::WalGap& last = gaps.back().second;
            const bool again = last.last == line->segment;
            if (again || pgdata::next_wal_segment(last.last, line->segment_size) == line->segment) {
                last.last = line->segment;
                last.until = line->time;
                continue;
            }
        }
        system_id = line->cluster.system_id;
        gaps.push_back({line->cluster, {line->segment, line->segment, line->time, line->time}});
    }
    return gaps;
}

}  // namespace chronos::ops::archive
