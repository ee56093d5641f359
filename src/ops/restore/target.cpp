#include "ops/restore/target.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "chronos/base/quote.h"
#include "chronos/base/text.h"

namespace chronos::ops::restore {
namespace {

constexpr std::int64_t kSecond = 1000000;

constexpr std::array<std::pair<std::string_view, RecoveryType>, 9> kTypes{{
    {"default", RecoveryType::default_},
    {"immediate", RecoveryType::immediate},
    {"time", RecoveryType::time},
    {"xid", RecoveryType::xid},
    {"lsn", RecoveryType::lsn},
    {"name", RecoveryType::name},
    {"standby", RecoveryType::standby},
    {"preserve", RecoveryType::preserve},
    {"none", RecoveryType::none},
}};

/// Length of a unit of time; 0 if `name` is none. Singular, plural and the usual abbreviations.
std::int64_t unit_us(std::string_view name) {
    if (name.size() > 1 && name.ends_with('s')) name.remove_suffix(1);
    if (name == "s" || name == "sec" || name == "second") return kSecond;
    if (name == "m" || name == "min" || name == "minute") return 60 * kSecond;
    if (name == "h" || name == "hour") return 3600 * kSecond;
    if (name == "d" || name == "day") return 86400 * kSecond;
    if (name == "w" || name == "week") return 7L * 86400 * kSecond;
    return 0;
}

/// "1 hour 30 minutes ago" as the length of the time; nullopt if it is not of that form.
std::optional<std::int64_t> parse_ago(std::string_view text) {
    if (!text.ends_with(" ago")) return std::nullopt;
    text.remove_suffix(4);
    std::int64_t total = 0;
    std::vector<std::string_view> words;
    for (std::string_view word : split(text, ' '))
        if (!word.empty()) words.push_back(word);
    if (words.empty() || words.size() % 2 != 0) return std::nullopt;
    for (std::size_t i = 0; i < words.size(); i += 2) {
        const auto count = parse_uint(words[i]);
        const std::int64_t unit = unit_us(words[i + 1]);
        if (!count || *count > 1000000 || unit == 0) return std::nullopt;
        total += static_cast<std::int64_t>(*count) * unit;
        if (total > kUnixTimeMax_us) return std::nullopt;
    }
    return total;
}

/// Whether the text says which zone it is in. It has the form of parse_time_us().
bool has_zone(std::string_view text) {
    constexpr std::size_t kDateSize = 10;  // the '-' in it are no signs
    return text.substr(kDateSize).find_first_of("+-Zz") != std::string_view::npos;
}

/// More digits than PostgreSQL keeps: it would round where we cut.
bool has_long_fraction(std::string_view text) {
    const std::size_t point = text.find('.');
    if (point == std::string_view::npos) return false;
    const std::size_t end = text.find_first_not_of("0123456789", point + 1);
    return (end == std::string_view::npos ? text.size() : end) - point - 1 > 6;
}

/// "... UTC" and "... GMT" with the sign for it; other names of zones depend on whose tables are
/// asked, and abbreviations on the settings of the server.
std::string with_plain_zone(std::string_view text) {
    for (const std::string_view name : {"UTC", "GMT", "utc", "gmt"})
        if (text.size() > name.size() && text.ends_with(name))
            return std::string(trim(text.substr(0, text.size() - name.size()))) + "+00";
    return std::string(text);
}

/// The instants at which clocks here show a time, "naive" being what it would be in UTC: two of
/// them when clocks are set back over it, none when they are set forward over it.
std::vector<std::int64_t> instants_of(std::int64_t naive_us) {
    constexpr std::int64_t kDay = 86400;
    const std::int64_t fraction = ((naive_us % kSecond) + kSecond) % kSecond;
    const std::int64_t naive = (naive_us - fraction) / kSecond;
    const auto offset_at = [](std::int64_t seconds) {
        const auto value = static_cast<std::time_t>(seconds);
        std::tm parts{};
        localtime_r(&value, &parts);
        return static_cast<std::int64_t>(parts.tm_gmtoff);
    };
    std::vector<std::int64_t> instants;
    for (const std::int64_t around : {naive - kDay, naive, naive + kDay}) {
        const std::int64_t instant = naive - offset_at(around);
        if (offset_at(instant) != naive - instant) continue;
        const std::int64_t instant_us = instant * kSecond + fraction;
        if (std::find(instants.begin(), instants.end(), instant_us) == instants.end())
            instants.push_back(instant_us);
    }
    std::sort(instants.begin(), instants.end());
    return instants;
}

bool is_file(const std::string& path) {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

/// "EST5EDT", "<+0330>-3:30": a zone that tells its offset itself.
bool tells_offset(std::string_view zone) {
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const bool quoted = zone.starts_with('<');
    const std::size_t end =
        quoted ? zone.find('>') : std::min(zone.find_first_not_of(kLetters), zone.size());
    if (end == std::string_view::npos || end < (quoted ? 4u : 3u)) return false;
    std::string_view offset = zone.substr(quoted ? end + 1 : end);
    if (offset.starts_with('+') || offset.starts_with('-')) offset.remove_prefix(1);
    return !offset.empty() && offset.front() >= '0' && offset.front() <= '9';
}

/// Whether the C library knows it: one that it does not know it takes for UTC, without a word.
bool is_time_zone(std::string_view zone) {
    if (zone.starts_with(':')) zone.remove_prefix(1);
    for (const std::string_view utc : {"", "UTC", "UTC0", "GMT", "Etc/UTC", "Universal", "Zulu"})
        if (zone == utc) return true;
    if (zone.starts_with('/')) return is_file(std::string(zone));
    const char* directory = std::getenv("TZDIR");
    return is_file(std::string(directory != nullptr ? directory : "/usr/share/zoneinfo") + "/" +
                   std::string(zone)) ||
           tells_offset(zone);
}

Error not_valid_without_type(const char* option, const char* types) {
    return Error(
        ErrorKind::option_invalid,
        "option '" + std::string(option) + "' not valid without option 'type' in (" + types + ")");
}

bool takes_target(RecoveryType type) {
    return has_recovery_target(type) && type != RecoveryType::immediate;
}

}  // namespace

std::string_view recovery_type_name(RecoveryType type) {
    for (const auto& [name, value] : kTypes)
        if (value == type) return name;
    return "default";
}

std::optional<RecoveryType> parse_recovery_type(std::string_view name) {
    for (const auto& [known, value] : kTypes)
        if (known == name) return value;
    return std::nullopt;
}

std::optional<TargetAction> parse_target_action(std::string_view name) {
    if (name == "pause") return TargetAction::pause;
    if (name == "promote") return TargetAction::promote;
    if (name == "shutdown") return TargetAction::shutdown;
    return std::nullopt;
}

std::string format_instant(std::int64_t instant_us) {
    std::int64_t seconds = instant_us / kSecond;
    std::int64_t fraction = instant_us % kSecond;
    if (fraction < 0) {
        fraction += kSecond;
        --seconds;
    }
    const auto value = static_cast<std::time_t>(seconds);
    std::tm parts{};
    gmtime_r(&value, &parts);
    char text[64];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    std::string result = text;
    if (fraction != 0) {
        std::snprintf(text, sizeof text, ".%06lld", static_cast<long long>(fraction));
        result += text;
        result.erase(result.find_last_not_of('0') + 1);
    }
    return result + "+00";
}

std::optional<TimeTarget> parse_time_target(std::string_view text, UnixTime now) {
    const std::string trimmed = with_plain_zone(trim(text));
    if (const auto instant = parse_time_us(trimmed)) {
        if (has_zone(trimmed) && !has_long_fraction(trimmed)) return TimeTarget{*instant, trimmed};
        return TimeTarget{*instant, format_instant(*instant)};
    }
    if (trimmed == "now") return TimeTarget{now * kSecond, format_instant(now * kSecond)};
    const auto ago = parse_ago(trimmed);
    if (!ago) return std::nullopt;
    const std::int64_t instant = now * kSecond - *ago;
    if (instant < 0) return std::nullopt;
    return TimeTarget{instant, format_instant(instant)};
}

Result<TimeTarget> judge_time_target(const RestoreRequest& request, UnixTime now) {
    const std::string text(trim(request.target));
    const std::string shown = printable(request.target);
    auto target = parse_time_target(text, now);
    const bool automatic = request.set.empty() || request.set == "latest";
    if (!target)
        return Error(automatic ? ErrorKind::format : ErrorKind::option_invalid_value,
                     automatic ? "automatic backup set selection cannot be performed with provided "
                                 "time '" +
                                     shown + "'"
                               : "'" + shown + "' is not a valid time for option 'target'")
            .with_hint(
                "time format must be YYYY-MM-DD HH:MM:SS with optional msec and optional "
                "timezone (+/- HH or HHMM or HH:MM) - if timezone is omitted, local time is "
                "assumed (for UTC use +00)");
    const auto naive = parse_time_us(text + "Z");
    if (!naive) return *std::move(target);  // it has a zone, or counts from now
    if (const char* zone = std::getenv("TZ"); zone != nullptr && !is_time_zone(zone))
        return Error(ErrorKind::option_invalid_value,
                     "the time '" + shown + "' is meant in the time zone '" + printable(zone) +
                         "' (TZ), which is not known here")
            .with_hint("Say which moment is meant, with its zone: '" +
                       format_instant(target->instant_us) +
                       "' is what it would be taken for without one.");
    const std::vector<std::int64_t> instants = instants_of(*naive);
    if (instants.size() == 1) return *std::move(target);
    if (instants.empty())
        return Error(ErrorKind::option_invalid_value,
                     "the time '" + shown + "' did not exist here: clocks were set forward over it")
            .with_hint("Say which moment is meant, with its zone: '" +
                       format_instant(target->instant_us) + "', for example.");
    return Error(ErrorKind::option_invalid_value,
                 "the time '" + shown + "' was there twice: clocks were set back over it")
        .with_hint("Say which moment is meant, with its zone: '" + format_instant(instants[0]) +
                   "' is the first one, '" + format_instant(instants[1]) + "' the second.");
}

Result<> judge_xid_epoch(std::uint64_t xid, std::uint64_t next_xid, std::uint64_t wal_bytes) {
    constexpr std::uint64_t kEpoch = std::uint64_t{1} << 32;
    // The end of a transaction alone takes more of the WAL.
    constexpr std::uint64_t kBytesMin = 32;
    if (xid < kEpoch || next_xid == 0) return {};
    // No server runs with a transaction that is older.
    const std::uint64_t first = next_xid > kEpoch / 2 ? next_xid - kEpoch / 2 : 1;
    const std::uint64_t end = next_xid + wal_bytes / kBytesMin + 1;
    if (xid >= first && xid < end) return {};
    Error error(ErrorKind::backup_set_invalid,
                "transaction " + std::to_string(xid) +
                    " cannot end in the WAL behind this backup: the cluster was about to begin " +
                    "transaction " + std::to_string(next_xid) + " then");
    std::uint64_t meant = next_xid / kEpoch * kEpoch + xid % kEpoch;
    if (meant >= end && meant >= kEpoch) meant -= kEpoch;
    if (meant < first) meant += kEpoch;
    if (meant < first || meant >= end) return error;
    return std::move(error).with_hint(
        "A server looks at the lower 32 bits of the number alone, and would stop at transaction " +
        std::to_string(meant) + ": give that one if it is meant.");
}

namespace {

Error invalid_target(const RestoreRequest& request, const char* what) {
    return Error(
        ErrorKind::option_invalid_value,
        "'" + printable(request.target) + "' is not a valid " + what + " for option 'target'");
}

/// PostgreSQL takes what it cannot read for 0, and "010" for 8.
Result<> check_xid(const RestoreRequest& request) {
    constexpr std::uint64_t kFirstNormal = 3;
    const auto xid = parse_uint(request.target);
    const bool plain = xid && (request.target.front() != '0');
    if (plain && (*xid & 0xFFFFFFFFu) >= kFirstNormal) return {};
    return invalid_target(request, "transaction id")
        .with_hint(
            "It is a decimal number from 3 on, as txid_current() and pg_current_xact_id() give "
            "it.");
}

Result<> check_target(const RestoreRequest& request, RecoveryType type) {
    if (!is_quotable(request.target)) return invalid_target(request, "text");
    if (type == RecoveryType::lsn && !Lsn::parse(request.target))
        return invalid_target(request, "lsn").with_hint("An lsn looks like 0/16B3748.");
    if (type == RecoveryType::xid) return check_xid(request);
    constexpr std::size_t kNameMax = 63;
    if (type == RecoveryType::name && request.target.size() > kNameMax)
        return invalid_target(request, "name of a restore point")
            .with_hint("PostgreSQL allows 63 bytes, this one has " +
                       std::to_string(request.target.size()) + ".");
    return {};
}

Result<> check_timeline_text(const std::string& text) {
    if (text.empty() || text == "current" || text == "latest") return {};
    CHRONOS_TRY(parse_timeline(text));
    return {};
}

bool is_setting_name(std::string_view name) {
    const auto letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    return !name.empty() && letter(name.front()) && std::ranges::all_of(name, [&](char c) {
        return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
    });
}

/// Options that would tell the server another target than the one that is planned for.
Result<> check_recovery_options(const RestoreRequest& request) {
    for (const auto& [key, value] : request.recovery_options) {
        if (!is_setting_name(key) || !is_quotable(value))
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(key) + "' is no setting for option 'recovery-option'");
        std::string name = key;
        std::ranges::transform(name, name.begin(), [](char c) {
            return c == '-' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
        for (const std::string_view type : {"time", "xid", "lsn", "name"})
            if (name == "recovery_target_" + std::string(type))
                return Error(ErrorKind::option_invalid,
                             "'" + name + "' setting is not valid for --recovery-option")
                    .with_hint("Use --type=" + std::string(type) +
                               " --target=... instead: the "
                               "backup and the WAL are chosen by it.");
        if (name == "recovery_target")
            return Error(ErrorKind::option_invalid,
                         "'" + name + "' setting is not valid for --recovery-option")
                .with_hint("Use --type=immediate instead.");
        if (std::ranges::any_of(key, [](char c) { return c >= 'A' && c <= 'Z'; }))
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(key) + "' is no setting for option 'recovery-option'")
                .with_hint("Write it in lower case.");
        if (name == "recovery_target_timeline") CHRONOS_TRY(check_timeline_text(value));
        if (name == "recovery_target_action" && !parse_target_action(value))
            return Error(ErrorKind::option_invalid_value,
                         "'" + printable(value) + "' is no recovery_target_action")
                .with_hint("Use --target-action with 'pause', 'promote' or 'shutdown'.");
    }
    return {};
}

}  // namespace

Result<> check_restore_request(const RestoreRequest& request) {
    const RecoveryType type = request.type.value_or(RecoveryType::default_);
    if (takes_target(type) && request.target.empty())
        return Error(ErrorKind::option_required, "restore command requires option: target");
    if (!takes_target(type) && !request.target.empty())
        return not_valid_without_type("target", "'lsn', 'name', 'time', 'xid'");
    if (request.target_exclusive && (!takes_target(type) || type == RecoveryType::name))
        return not_valid_without_type("target-exclusive", "'lsn', 'time', 'xid'");
    if (request.target_action != TargetAction::pause && !has_recovery_target(type))
        return not_valid_without_type("target-action", "'immediate', 'lsn', 'name', 'time', 'xid'");
    if (!request.target_timeline.empty() &&
        (type == RecoveryType::immediate || type == RecoveryType::preserve ||
         type == RecoveryType::none))
        return not_valid_without_type("target-timeline",
                                      "'default', 'lsn', 'name', 'standby', 'time', 'xid'");
    if (!request.recovery_options.empty() &&
        (type == RecoveryType::preserve || type == RecoveryType::none))
        return not_valid_without_type(
            "recovery-option", "'default', 'immediate', 'lsn', 'name', 'time', 'standby', 'xid'");
    if (request.save_current && (request.delta || request.force || type == RecoveryType::preserve))
        return Error(ErrorKind::option_invalid,
                     "option 'save-current' not valid with options 'delta' and 'force' and type "
                     "'preserve', which need what it moves away");
    CHRONOS_TRY(check_target(request, type));
    CHRONOS_TRY(check_timeline_text(request.target_timeline));
    CHRONOS_TRY(check_recovery_options(request));
    if (!is_quotable(request.restore_command) || !is_quotable(request.pg_path))
        return Error(ErrorKind::option_invalid_value, "a path must not have a NUL byte");
    return {};
}

Result<Timeline> parse_timeline(std::string_view text) {
    Timeline value = 0;
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = hexadecimal ? text.substr(2) : text;
    const auto [end, code] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 10);
    const bool whole = code == std::errc() && end == digits.data() + digits.size();
    // PostgreSQL takes "010" for 8.
    const bool octal = !hexadecimal && text.starts_with('0');
    if (whole && !octal && value > 0) return value;
    return Error(ErrorKind::db_mismatch, "invalid target timeline '" + printable(text) + "'")
        .with_hint(
            "It is 'current', 'latest' or a number from 1 on, decimal without a leading zero, or "
            "hexadecimal with 0x.");
}

}  // namespace chronos::ops::restore
