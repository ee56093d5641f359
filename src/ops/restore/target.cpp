#include "target.h"

#include <array>
#include <cstdio>
#include <ctime>

#include "chronos/base/text.h"

namespace chronos::ops {
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
    if (name == "w" || name == "week") return 7 * 86400 * kSecond;
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
    }
    return total;
}

/// Whether the text says which zone it is in. It has the form of parse_time_us().
bool has_zone(std::string_view text) {
    constexpr std::size_t kDateSize = 10;  // the '-' in it are no signs
    return text.substr(kDateSize).find_first_of("+-Zz") != std::string_view::npos;
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
    const std::string_view trimmed = trim(text);
    if (const auto instant = parse_time_us(trimmed)) {
        if (has_zone(trimmed)) return TimeTarget{*instant, std::string(trimmed)};
        return TimeTarget{*instant, format_instant(*instant)};
    }
    if (trimmed == "now") return TimeTarget{now * kSecond, format_instant(now * kSecond)};
    const auto ago = parse_ago(trimmed);
    if (!ago) return std::nullopt;
    const std::int64_t instant = now * kSecond - *ago;
    return TimeTarget{instant, format_instant(instant)};
}

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
    if (type == RecoveryType::lsn && !Lsn::parse(request.target))
        return Error(ErrorKind::option_invalid_value,
                     "'" + printable(request.target) + "' is not a valid lsn for option 'target'")
            .with_hint("An lsn looks like 0/16B3748.");
    return {};
}

}  // namespace chronos::ops
