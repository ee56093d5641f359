#include "ops/backup/throughput.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "chronos/base/text.h"

namespace chronos::ops::backup {
namespace {

std::string seconds_text(Seconds time) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1fs", time.count());
    return text.data();
}

std::string rate_text(std::uint64_t bytes, Seconds time) {
    // A millisecond is what the shortest copy takes.
    const double seconds = std::max(time.count(), 0.001);
    return format_size(static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds)) + "/s";
}

std::string share_text(std::uint64_t part_ms, const StageTimes& stages) {
    const std::uint64_t total = std::max<std::uint64_t>(1, stages.total_ms());
    return std::to_string((part_ms * 100 + total / 2) / total) + "%";
}

}  // namespace

std::string throughput_text(std::uint64_t copied_bytes, const StageTimes& stages,
                            const Waits& waits) {
    std::string text = "copied " + format_size(copied_bytes) + " in " + seconds_text(waits.copy) +
                       " (" + rate_text(copied_bytes, waits.copy) + "), stored " +
                       format_size(stages.stored_bytes) + " (" +
                       rate_text(stages.stored_bytes, waits.copy) + "): reading " +
                       share_text(stages.read_ms, stages) + ", compressing " +
                       share_text(stages.compute_ms, stages) + ", waiting for storage " +
                       share_text(stages.store_ms, stages) + ", for the clock " +
                       share_text(stages.clock_ms, stages) + "; waited for";
    const std::array<std::pair<const char*, Seconds>, 3> waited{
        {{" checkpoint ", waits.checkpoint}, {", sync ", waits.sync}, {", WAL ", waits.wal}}};
    for (const auto& [name, time] : waited) text += name + seconds_text(time);
    return text;
}

}  // namespace chronos::ops::backup
