#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "chronos/base/clock.h"
#include "chronos/base/text.h"

/// The columns of a row that the server answered with, all of them as text. 0 where there is none.
namespace chronos::ops::health {

inline std::uint64_t number(const std::optional<std::string>& value) {
    return value ? parse_uint(*value).value_or(0) : 0;
}

inline UnixTime time_of(const std::optional<std::string>& value) {
    return value ? parse_unix_time(*value).value_or(0) : 0;
}

}  // namespace chronos::ops::health
