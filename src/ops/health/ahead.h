#pragma once

#include "chronos/base/clock.h"

namespace chronos::ops::health {

/// Whether a time was taken from another clock than `now`, or before that was set back.
inline bool is_ahead(UnixTime time, UnixTime now) {
    constexpr UnixTime kClocksApart_s = 300;
    return time - now > kClocksApart_s;
}

}  // namespace chronos::ops::health
