#include "ops/backup/stages.h"

#include <algorithm>

namespace chronos::ops::backup {
namespace {

std::uint64_t milliseconds_of(const std::atomic<std::int64_t>& time_ns) {
    return static_cast<std::uint64_t>(
        std::max<std::int64_t>(0, time_ns.load(std::memory_order_relaxed) / 1'000'000));
}

}  // namespace

StageTimes Stages::times() const {
    return {milliseconds_of(read_ns_), milliseconds_of(compute_ns_), milliseconds_of(store_ns_),
            milliseconds_of(clock_ns_), stored_bytes_.load(std::memory_order_relaxed)};
}

}  // namespace chronos::ops::backup
