#include "chronos/control/cron.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "chronos/base/text.h"

namespace chronos::control {
namespace {

constexpr std::int64_t kMinute = 60;
constexpr int kMinutesPerDay = 24 * 60;
/// More than any clock is set forward or back by, days that a zone leaves out aside.
constexpr int kShiftMinutes = 180;
constexpr std::int64_t kHorizon = std::int64_t{9} * 366 * 86400;

struct Field {
    std::string_view name;
    unsigned first;
    unsigned last;
    std::string_view names;  ///< three letters each, from `first_named` on
    unsigned first_named;
};
constexpr Field kMinuteField{"minute", 0, 59, "", 0};
constexpr Field kHourField{"hour", 0, 23, "", 0};
constexpr Field kDayField{"day of month", 1, 31, "", 0};
constexpr Field kMonthField{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1};
/// 7 is Sunday too.
constexpr Field kWeekdayField{"day of week", 0, 7, "sunmontuewedthufrisat", 0};

struct Shorthand {
    std::string_view name;
    std::string_view meaning;
};
constexpr std::array kShorthands{
    Shorthand{"@hourly", "0 * * * *"},   Shorthand{"@daily", "0 0 * * *"},
    Shorthand{"@midnight", "0 0 * * *"}, Shorthand{"@weekly", "0 0 * * 0"},
    Shorthand{"@monthly", "0 0 1 * *"},  Shorthand{"@yearly", "0 0 1 1 *"},
    Shorthand{"@annually", "0 0 1 1 *"},
};

Error refuse(std::string message) {
    return Error(ErrorKind::option_invalid_value, std::move(message))
        .with_hint(
            "It has five fields: minute, hour, day of month, month, day of week; or it is "
            "@hourly, @daily, @weekly, @monthly or @yearly.");
}

Error refuse(const Field& field, std::string_view text) {
    return refuse("\"" + printable(text, 64) + "\" is not valid as " + std::string(field.name) +
                  " of a cron expression");
}

/// A number or a name.
std::optional<unsigned> parse_value(const Field& field, std::string_view text) {
    if (text.size() == 3 && !field.names.empty())
        for (std::size_t at = 0; at < field.names.size(); at += 3)
            if (field.names.substr(at, 3) == to_lower(text))
                return static_cast<unsigned>(at / 3) + field.first_named;
    if (text.empty() || text.size() > 2) return std::nullopt;
    const auto number = parse_uint(text);
    if (!number || *number < field.first || *number > field.last) return std::nullopt;
    return static_cast<unsigned>(*number);
}

/// One element of a list: "*", "5", "1-5", each with or without "/2".
Result<std::uint64_t> parse_element(const Field& field, std::string_view text) {
    const std::size_t slash = text.find('/');
    const std::string_view range = text.substr(0, slash);
    std::uint64_t step = 1;
    if (slash != std::string_view::npos) {
        const auto number = parse_uint(text.substr(slash + 1));
        if (!number || *number == 0 || *number > field.last) return refuse(field, text);
        step = *number;
    }
    // "5/15" is from 5 on, as most crons have it.
    const bool open = range == "*" || slash != std::string_view::npos;
    const std::size_t dash = range.find('-');
    std::optional<unsigned> first = field.first;
    std::optional<unsigned> last = field.last == 7 ? 6 : field.last;
    if (range != "*") {
        first = parse_value(field, range.substr(0, dash));
        if (dash != std::string_view::npos)
            last = parse_value(field, range.substr(dash + 1));
        else if (!open)
            last = first;
        // "fri-sun": Sunday is the end of a week as well as its beginning.
        if (first && last && field.last == 7 && *last == 0 && *first > 0) last = 7;
    }
    if (!first || !last || *first > *last) return refuse(field, text);
    std::uint64_t set = 0;
    for (std::uint64_t value = *first; value <= *last; value += step)
        set |= std::uint64_t{1} << value;
    return set;
}

Result<std::uint64_t> parse_field(const Field& field, std::string_view text) {
    std::uint64_t set = 0;
    for (const std::string_view element : split(text, ','))
        set |= CHRONOS_TRY(parse_element(field, element));
    constexpr std::uint64_t kSeven = std::uint64_t{1} << 7;
    if (field.last == 7 && (set & kSeven) != 0) set = (set | 1) & ~kSeven;
    return set;
}

std::vector<std::string_view> words(std::string_view text) {
    std::vector<std::string_view> result;
    constexpr std::string_view kBlank = " \t";
    for (std::size_t at = text.find_first_not_of(kBlank); at != std::string_view::npos;) {
        const std::size_t end = std::min(text.find_first_of(kBlank, at), text.size());
        result.push_back(text.substr(at, end - at));
        at = text.find_first_not_of(kBlank, end);
    }
    return result;
}

bool has(std::uint64_t set, int value) {
    return (set >> value & 1) != 0;
}

int days_of_month(int year, int month) {
    constexpr std::array kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : kDays[static_cast<std::size_t>(month - 1)];
}

void next_day(WallTime& at) {
    at.weekday = (at.weekday + 1) % 7;
    if (++at.day <= days_of_month(at.year, at.month)) return;
    at.day = 1;
    if (++at.month <= 12) return;
    at.month = 1;
    ++at.year;
}

void next_minute(WallTime& at) {
    if (++at.minute < 60) return;
    at.minute = 0;
    if (++at.hour < 24) return;
    at.hour = 0;
    next_day(at);
}

/// Minutes since a fixed point, so that two wall times can be subtracted.
std::int64_t minutes_of(const WallTime& at) {
    // Days of the civil calendar, March first: the leap day is then the last of its year.
    const int year = at.month <= 2 ? at.year - 1 : at.year;
    const int month = (at.month + 9) % 12;
    const std::int64_t days = std::int64_t{365} * year + year / 4 - year / 100 + year / 400 +
                              (153 * month + 2) / 5 + at.day;
    return (days * 24 + at.hour) * 60 + at.minute;
}

/// True if the clocks have shown that minute before, within the last hours.
bool comes_again(std::int64_t time, const WallTime& now, const WallClock& clock) {
    const std::int64_t before = time - kShiftMinutes * kMinute;
    const std::int64_t passed = minutes_of(now) - minutes_of(clock(before));
    if (passed >= kShiftMinutes) return false;
    const std::int64_t back = kShiftMinutes - passed;
    return clock(time - back * kMinute) == now;
}

}  // namespace

Result<Cron> Cron::parse(std::string_view text) {
    std::vector<std::string_view> fields = words(text);
    if (fields.size() == 1 && fields[0].starts_with('@')) {
        const auto* found = std::ranges::find(kShorthands, to_lower(fields[0]), &Shorthand::name);
        if (found == kShorthands.end())
            return refuse("there is no cron expression \"" + printable(fields[0], 64) + "\"");
        fields = words(found->meaning);
    }
    if (fields.size() != 5)
        return refuse("a cron expression has five fields, this one has " +
                      std::to_string(fields.size()));
    Cron cron;
    cron.minutes_ = CHRONOS_TRY(parse_field(kMinuteField, fields[0]));
    cron.hours_ = CHRONOS_TRY(parse_field(kHourField, fields[1]));
    cron.days_ = CHRONOS_TRY(parse_field(kDayField, fields[2]));
    cron.months_ = CHRONOS_TRY(parse_field(kMonthField, fields[3]));
    cron.weekdays_ = CHRONOS_TRY(parse_field(kWeekdayField, fields[4]));
    cron.both_days_ = fields[2].starts_with('*') || fields[4].starts_with('*');
    cron.times_of_day_ = !fields[0].starts_with('*') && !fields[1].starts_with('*');
    // From a year before a leap year on every date comes within five years.
    if (cron.days_to_match(
            {.year = 2023, .month = 1, .day = 1, .hour = 0, .minute = 0, .weekday = 0}) < 0)
        return refuse("the day \"" + printable(fields[2], 64) + "\" is in none of the months \"" +
                      printable(fields[3], 64) + "\"");
    return cron;
}

bool Cron::matches_date(const WallTime& at) const {
    if (!has(months_, at.month)) return false;
    const bool day = has(days_, at.day);
    const bool weekday = has(weekdays_, at.weekday);
    return both_days_ ? day && weekday : day || weekday;
}

bool Cron::matches(const WallTime& at) const {
    return has(minutes_, at.minute) && has(hours_, at.hour) && matches_date(at);
}

bool Cron::gap_holds_match(WallTime from, const WallTime& to) const {
    // A zone that moves to the other side of the date line leaves out a day.
    for (int i = 0; i <= kMinutesPerDay; ++i) {
        next_minute(from);
        if (from == to) return false;
        if (matches(from)) return true;
    }
    return false;
}

bool Cron::is_due(std::int64_t time, const WallTime& now, const WallClock& clock) const {
    if (matches(now)) return !times_of_day_ || !comes_again(time, now, clock);
    if (!times_of_day_) return false;
    WallTime before = clock(time - kMinute);
    if (minutes_of(now) - minutes_of(before) <= 1) return false;
    return gap_holds_match(before, now);
}

/// Days from a date to the next one that matches, at least one; -1 if there is none in nine years.
int Cron::days_to_match(WallTime from) const {
    for (int days = 1; days < 9 * 366; ++days) {
        next_day(from);
        if (matches_date(from)) return days;
    }
    return -1;
}

std::optional<std::int64_t> Cron::next_after(std::int64_t time, const WallClock& clock) const {
    std::int64_t at = time - ((time % kMinute) + kMinute) % kMinute + kMinute;
    const std::int64_t end = at + kHorizon;
    while (at < end) {
        const WallTime now = clock(at);
        if (is_due(at, now, clock)) return at;
        std::int64_t minutes = 1;
        if (!matches_date(now)) {
            const int days = days_to_match(now);
            if (days < 0) return std::nullopt;
            // Not to the very midnight: clocks may be set in between, and a gap that ends the day
            // has to be seen.
            const std::int64_t to_midnight =
                std::int64_t{days} * kMinutesPerDay - std::int64_t{now.hour} * 60 - now.minute;
            minutes = std::max<std::int64_t>(1, to_midnight - kShiftMinutes);
        }
        at += minutes * kMinute;
    }
    return std::nullopt;
}

}  // namespace chronos::control
