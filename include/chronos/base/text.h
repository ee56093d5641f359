#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace chronos {

std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
/// A to Z only, whatever the locale.
std::string to_lower(std::string_view text);
std::string join(std::span<const std::string> parts, std::string_view separator);

/// Lower-case hexadecimal.
std::string to_hex(std::span<const std::byte> bytes);
/// nullopt unless the text is an even number of hexadecimal digits.
std::optional<std::vector<std::byte>> from_hex(std::string_view text);
bool is_hex_upper(std::string_view text);
bool is_digit(char c);

/// Decimal without sign, spaces or trailing text.
std::optional<std::uint64_t> parse_uint(std::string_view text);

/// "5.9MB": base 1024, one rounded decimal, ".0" dropped, GB the largest unit, as `info` prints.
std::string format_size(std::uint64_t size_bytes);

/// The candidate with the fewest edits from `name`, if it is near enough to be what was meant.
std::optional<std::string> nearest_name(std::string_view name,
                                        std::span<const std::string> candidates);

/// For messages and log lines: control characters and bytes that are not UTF-8 become '?', and
/// text past `size_max` bytes becomes "...", so that garbage on disk cannot garble a terminal.
std::string printable(std::string_view text, std::size_t size_max = 256);

/// printable(), of a text that has several lines - an error of libpq, a query - in a place for one.
std::string one_line(std::string_view text, std::size_t size_max = 1024);

/// For whole lines, however they were made: control characters other than tab and line feed become
/// '?'. What is in a line should have been printable() before it was.
std::string without_controls(std::string_view text);

}  // namespace chronos
