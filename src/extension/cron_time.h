#pragma once

#include <cstdint>

#include "extension/failure.h"

namespace chronos::extension {

/// The cron expressions of chronos::control for the server's side: plain memory in and out, as
/// engine_process.h explains, and what clocks show is asked of the server.

struct WallFields {
    int year;
    int month;
    int day;
    int hour;
    int minute;
    int weekday;
};
/// What clocks show at a time in seconds since 1970 UTC. Must not raise.
using WallFunction = WallFields (*)(void* zone, std::int64_t time);

/// Why the text is no cron expression.
Failure check_cron(const char* text) noexcept;

inline constexpr std::int64_t kNever = INT64_MAX;
/// The first minute after `time` at which it is due, in seconds since 1970 UTC; kNever also for a
/// text that is no cron expression.
std::int64_t next_due(const char* cron, std::int64_t time, WallFunction clock, void* zone) noexcept;

}  // namespace chronos::extension
