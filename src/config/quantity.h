#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "chronos/config/option.h"

/// Numbers with units, as users write them and as the rows of options do: what the program accepts
/// the compiler accepts.
namespace chronos::config {
namespace quantity {

inline constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

/// Decimal without sign, spaces or trailing text, as chronos::parse_uint().
constexpr std::optional<std::uint64_t> parse_digits(std::string_view text) {
    std::uint64_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) return std::nullopt;
        value = 10 * value + digit;
    }
    return text.empty() ? std::nullopt : std::optional(value);
}

constexpr std::optional<std::uint64_t> multiply(std::uint64_t number, std::uint64_t factor) {
    if (number > kMax / factor) return std::nullopt;
    return number * factor;
}

constexpr char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Whatever the case of what was written; `unit` is in lower case.
constexpr bool is_unit(std::string_view written, std::string_view unit) {
    if (written.size() != unit.size()) return false;
    for (std::size_t i = 0; i < unit.size(); ++i)
        if (lower(written[i]) != unit[i]) return false;
    return true;
}

constexpr std::size_t count_digits(std::string_view text) {
    std::size_t count = 0;
    while (count < text.size() && text[count] >= '0' && text[count] <= '9') ++count;
    return count;
}

}  // namespace quantity

/// Sign and decimal digits.
constexpr std::optional<std::int64_t> parse_integer(std::string_view text) {
    const bool negative = text.starts_with('-');
    const auto digits = quantity::parse_digits(text.substr(negative ? 1 : 0));
    if (!digits || *digits > quantity::kMax + (negative ? 1 : 0)) return std::nullopt;
    // The smallest number has no positive one to be made of.
    if (negative) return *digits == 0 ? 0 : -1 - static_cast<std::int64_t>(*digits - 1);
    return static_cast<std::int64_t>(*digits);
}

/// "128MiB" in bytes; units are powers of 1024 whatever they are called.
constexpr std::optional<std::uint64_t> parse_size(std::string_view text) {
    const std::size_t digits = quantity::count_digits(text);
    const auto number = quantity::parse_digits(text.substr(0, digits));
    if (!number) return std::nullopt;
    const std::string_view unit = text.substr(digits);
    if (unit.empty() || quantity::is_unit(unit, "b")) return quantity::multiply(*number, 1);
    constexpr std::string_view kLetters = "kmgtp";
    const std::size_t power = kLetters.find(quantity::lower(unit[0]));
    const std::string_view rest = unit.substr(1);
    if (power == std::string_view::npos ||
        (!rest.empty() && !quantity::is_unit(rest, "b") && !quantity::is_unit(rest, "ib")))
        return std::nullopt;
    return quantity::multiply(*number, std::uint64_t{1} << (10 * (power + 1)));
}

/// "1m" in milliseconds; seconds without a unit.
constexpr std::optional<std::chrono::milliseconds> parse_time(std::string_view text) {
    const std::size_t digits = quantity::count_digits(text);
    const auto number = quantity::parse_digits(text.substr(0, digits));
    if (!number) return std::nullopt;
    struct Unit {
        std::string_view name;
        std::uint64_t factor;
    };
    for (const Unit unit : {Unit{"", 1000}, Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60000},
                            Unit{"h", 3600000}, Unit{"d", 86400000}, Unit{"w", 604800000}}) {
        if (!quantity::is_unit(text.substr(digits), unit.name)) continue;
        const auto value = quantity::multiply(*number, unit.factor);
        if (!value) return std::nullopt;
        return std::chrono::milliseconds(static_cast<std::int64_t>(*value));
    }
    return std::nullopt;
}

/// Of an option that is an integer, a size or a time: in the unit of its minimum and maximum.
constexpr std::optional<std::int64_t> parse_quantity(Type type, std::string_view text) {
    if (type == Type::integer) return parse_integer(text);
    if (type == Type::size) {
        const auto bytes = parse_size(text);
        return bytes ? std::optional(static_cast<std::int64_t>(*bytes)) : std::nullopt;
    }
    const auto time = parse_time(text);
    return time ? std::optional<std::int64_t>(time->count()) : std::nullopt;
}

}  // namespace chronos::config
