#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chronos {

/// Seconds since 1970-01-01 UTC, the unit of every time in a repository.
using UnixTime = std::int64_t;
inline constexpr UnixTime kDay_s = 86400;

UnixTime unix_now();

/// Both in the time zone of the process (TZ), which is what pgBackRest uses for labels and output.
std::string format_label_time(UnixTime time);  ///< "20261120-075745"
std::string format_local_time(UnixTime time);  ///< "2026-11-20 07:57:45+00", minutes if not zero

/// A point in time as people and `--target` write it: "YYYY-MM-DD HH:MM:SS", 'T' in place of the
/// blank, an optional fraction, an optional zone (Z, +HH, +HHMM, +HH:MM). Without a zone: local.
/// Returns microseconds since 1970 UTC; nullopt if it is not of that form.
std::optional<std::int64_t> parse_time_us(std::string_view text);

}  // namespace chronos
