#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chronos {

/// Seconds since 1970-01-01 UTC, the unit of every time in a repository.
using UnixTime = std::int64_t;
inline constexpr UnixTime kDay_s = 86400;
/// The end of the year 9999. A record or a file that has a later time is damaged, or not ours: what
/// is computed with times - an age, a sum with days, microseconds - has room above it.
inline constexpr UnixTime kUnixTimeMax = 253402300799;
/// The same in microseconds.
inline constexpr std::int64_t kUnixTimeMax_us = kUnixTimeMax * 1000000;

UnixTime unix_now();

/// Both in the time zone of the process (TZ), which is what pgBackRest uses for labels and output.
std::string format_label_time(UnixTime time);  ///< "20261120-075745"
std::string format_local_time(UnixTime time);  ///< "2026-11-20 07:57:45+00", minutes if not zero

/// Seconds as a record has them: decimal, and nothing else. nullopt if it is no number, or beyond
/// kUnixTimeMax.
std::optional<UnixTime> parse_unix_time(std::string_view text);

/// A point in time as people and `--target` write it: "YYYY-MM-DD HH:MM:SS", 'T' in place of the
/// blank, an optional fraction, an optional zone (Z, +HH, +HHMM, +HH:MM). Without a zone: local.
/// Microseconds since 1970 UTC, up to kUnixTimeMax_us; nullopt if it is none, or not of that form.
std::optional<std::int64_t> parse_time_us(std::string_view text);

}  // namespace chronos
