#include "chronos/base/clock.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "chronos/base/text.h"

namespace chronos {
namespace {

std::tm local_tm(UnixTime time) {
    const auto value = static_cast<std::time_t>(time);
    std::tm parts{};
    localtime_r(&value, &parts);
    return parts;
}

std::string format_tm(const char* format, const std::tm& parts) {
    char text[64];
    text[std::strftime(text, sizeof text, format, &parts)] = '\0';
    return text;
}

/// Reads exactly `width` digits from the front of `text`.
bool take_digits(std::string_view& text, std::size_t width, int& value) {
    if (text.size() < width) return false;
    const auto number = parse_uint(text.substr(0, width));
    if (!number) return false;
    value = static_cast<int>(*number);
    text.remove_prefix(width);
    return true;
}

bool take(std::string_view& text, char expected) {
    if (text.empty() || text.front() != expected) return false;
    text.remove_prefix(1);
    return true;
}

/// Seconds east of UTC of a zone suffix; the whole of `text` must be one.
bool parse_zone(std::string_view text, int& offset_seconds) {
    if (text == "Z" || text == "z") {
        offset_seconds = 0;
        return true;
    }
    const bool west = !text.empty() && text.front() == '-';
    if (!west && (text.empty() || text.front() != '+')) return false;
    text.remove_prefix(1);
    int hours = 0;
    int minutes = 0;
    if (!take_digits(text, 2, hours)) return false;
    if (!text.empty()) {
        take(text, ':');
        if (!take_digits(text, 2, minutes)) return false;
    }
    if (!text.empty() || hours > 15 || minutes > 59) return false;
    offset_seconds = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return true;
}

/// A fraction behind the seconds, in microseconds; further digits are cut off.
bool take_fraction(std::string_view& text, std::int64_t& fraction_us) {
    std::size_t digits = 0;
    std::int64_t scale = 1000000;
    fraction_us = 0;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
        scale /= 10;
        fraction_us += (text.front() - '0') * scale;
        text.remove_prefix(1);
        ++digits;
    }
    return digits > 0;
}

}  // namespace

UnixTime unix_now() {
    return std::time(nullptr);
}

std::string format_label_time(UnixTime time) {
    return format_tm("%Y%m%d-%H%M%S", local_tm(time));
}

std::string format_local_time(UnixTime time) {
    const std::tm parts = local_tm(time);
    const long minutes = std::labs(parts.tm_gmtoff) / 60;
    char zone[32];
    std::snprintf(zone, sizeof zone, "%c%02ld", parts.tm_gmtoff < 0 ? '-' : '+', minutes / 60);
    std::string text = format_tm("%Y-%m-%d %H:%M:%S", parts) + zone;
    if (minutes % 60 != 0) {
        std::snprintf(zone, sizeof zone, ":%02ld", minutes % 60);
        text += zone;
    }
    return text;
}

std::optional<UnixTime> parse_unix_time(std::string_view text) {
    const auto number = parse_uint(text);
    if (!number || *number > std::uint64_t{kUnixTimeMax}) return std::nullopt;
    return static_cast<UnixTime>(*number);
}

std::optional<std::int64_t> parse_time_us(std::string_view text) {
    std::tm parts{};
    int year = 0;
    if (!take_digits(text, 4, year) || !take(text, '-') || !take_digits(text, 2, parts.tm_mon) ||
        !take(text, '-') || !take_digits(text, 2, parts.tm_mday) ||
        !(take(text, ' ') || take(text, 'T')) || !take_digits(text, 2, parts.tm_hour) ||
        !take(text, ':') || !take_digits(text, 2, parts.tm_min) || !take(text, ':') ||
        !take_digits(text, 2, parts.tm_sec))
        return std::nullopt;
    std::int64_t fraction_us = 0;
    if (take(text, '.') && !take_fraction(text, fraction_us)) return std::nullopt;
    parts.tm_year = year - 1900;
    parts.tm_mon -= 1;
    std::tm utc = parts;
    std::time_t seconds = timegm(&utc);
    // 31 February is rolled over into March instead of being refused. What clocks here did not
    // show, because they were set forward over midnight or a whole day, is no such date.
    if (utc.tm_mon != parts.tm_mon || utc.tm_mday != parts.tm_mday || parts.tm_hour > 23 ||
        parts.tm_min > 59 || parts.tm_sec > 59)
        return std::nullopt;
    int offset_seconds = 0;
    take(text, ' ');
    if (text.empty()) {
        parts.tm_isdst = -1;
        const std::time_t local = std::mktime(&parts);
        // Of what was skipped mktime gives either side, depending on what it was asked before. As
        // if clocks had not been set it is behind the gap.
        const bool skipped = parts.tm_mday != utc.tm_mday || parts.tm_hour != utc.tm_hour ||
                             parts.tm_min != utc.tm_min;
        seconds = skipped ? seconds - local_tm(seconds - kDay_s).tm_gmtoff : local;
    } else {
        if (!parse_zone(text, offset_seconds)) return std::nullopt;
        seconds -= offset_seconds;
    }
    // A year has four digits wherever it is said again: "26-11-20" would be another one.
    if (seconds < 0 || seconds > kUnixTimeMax) return std::nullopt;
    return static_cast<std::int64_t>(seconds) * 1000000 + fraction_us;
}

}  // namespace chronos
