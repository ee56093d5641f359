#pragma once

#include <time.h>

#include "extension/postgres_api.h"

namespace chronos::extension {

/// Microseconds of a clock that nobody sets and that goes on while the machine sleeps: what every
/// interval is measured by. The same in all processes of a server; 0 is no time of it.
using SteadyTime = int64;

inline SteadyTime steady_now() {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<SteadyTime>(now.tv_sec) * USECS_PER_SEC + now.tv_nsec / 1000;
}

inline bool has_passed(SteadyTime since, int64 limit_ms) {
    return steady_now() - since >= limit_ms * 1000;
}

/// How many milliseconds are left until `time`, rounded up; 0 once it has come.
inline long left_until_ms(SteadyTime time) {
    const int64 left_us = time - steady_now();
    return left_us <= 0 ? 0 : static_cast<long>(left_us / 1000 + 1);
}

}  // namespace chronos::extension
