#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "chronos/base/result.h"

namespace chronos::control {

/// A minute as clocks on a wall show it.
struct WallTime {
    int year;
    int month;    ///< 1-12
    int day;      ///< 1-31
    int hour;     ///< 0-23
    int minute;   ///< 0-59
    int weekday;  ///< 0 is Sunday

    bool operator==(const WallTime&) const = default;
};

/// What the clocks of a time zone show at a time in seconds since 1970 UTC.
using WallClock = std::function<WallTime(std::int64_t time)>;

/// A cron expression: five fields (minute, hour, day of month, month, day of week) of lists,
/// ranges, steps and English names, or @hourly, @daily, @midnight, @weekly, @monthly, @yearly,
/// @annually. As in cron a day has to match both day fields if one of them begins with `*`, and one
/// of the two otherwise. An immutable value; pure code, for any thread.
///
/// Where clocks are set forward or back it does what Debian's cron does. An expression whose minute
/// and hour both are no `*` means times of the day: one that is skipped happens at the first minute
/// after the gap, one that comes twice happens the first time. Any other means intervals and
/// follows the clock: what is skipped does not happen, what comes twice happens twice.
///
/// Source: crontab(5) and the source of Vixie cron as in Debian.
class Cron {
public:
    /// Kind option_invalid_value, with what is wrong in which field; also for a day that no month
    /// has.
    static Result<Cron> parse(std::string_view text);

    /// The first minute after `time` at which it is due, in seconds since 1970 UTC; nullopt if
    /// there is none within nine years (a 29th of February can be eight years away).
    std::optional<std::int64_t> next_after(std::int64_t time, const WallClock& clock) const;

private:
    bool matches_date(const WallTime& at) const;
    bool matches(const WallTime& at) const;
    bool gap_holds_match(WallTime from, const WallTime& to) const;
    bool is_due(std::int64_t time, const WallTime& now, const WallClock& clock) const;
    int days_to_match(WallTime from) const;

    std::uint64_t minutes_ = 0;
    std::uint64_t hours_ = 0;
    std::uint64_t days_ = 0;
    std::uint64_t months_ = 0;
    std::uint64_t weekdays_ = 0;
    bool both_days_ = false;     ///< a day field begins with '*'
    bool times_of_day_ = false;  ///< neither minute nor hour begins with '*'
};

}  // namespace chronos::control
