#include "chronos/base/text.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <numeric>

#include "chronos/base/utf8.h"

namespace chronos {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] =
                std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return parts;
        text.remove_prefix(at + 1);
    }
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string to_lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
    std::string result;
    for (const std::string& part : parts) {
        if (&part != parts.data()) result += separator;
        result += part;
    }
    return result;
}

std::string to_hex(std::span<const std::byte> bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::byte byte : bytes) {
        text += kDigits[std::to_integer<unsigned>(byte) >> 4];
        text += kDigits[std::to_integer<unsigned>(byte) & 15];
    }
    return text;
}

std::optional<std::vector<std::byte>> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::vector<std::byte> bytes;
    bytes.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_digit(text[i]);
        const int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        bytes.push_back(static_cast<std::byte>(high << 4 | low));
    }
    return bytes;
}

bool is_hex_upper(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); });
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

std::optional<std::uint64_t> parse_uint(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || code != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

std::string format_size(std::uint64_t size_bytes) {
    if (size_bytes < 1024) return std::to_string(size_bytes) + "B";
    static constexpr const char* kUnits[] = {"KB", "MB", "GB"};
    std::size_t unit = 0;
    std::uint64_t scale = 1024;
    while (unit < 2 && size_bytes >= scale * 1024) {
        scale *= 1024;
        ++unit;
    }
    // Tenths, rounded half up, in integers: floating point would differ from the recorded outputs.
    const std::uint64_t tenths =
        size_bytes / scale * 10 + (size_bytes % scale * 10 + scale / 2) / scale;
    std::string text = std::to_string(tenths / 10);
    if (tenths % 10 != 0) text += "." + std::to_string(tenths % 10);
    return text + kUnits[unit];
}

std::optional<std::string> nearest_name(std::string_view name,
                                        std::span<const std::string> candidates) {
    const std::string* best = nullptr;
    std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(name, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = &candidate;
        }
    }
    return best == nullptr ? std::nullopt : std::optional(*best);
}

namespace {

/// Of the character that `text` begins with: C0, DEL, and C1, which some terminals obey as well.
bool is_control(std::string_view text, std::size_t length) {
    const auto byte = static_cast<unsigned char>(text[0]);
    if (length == 2) return byte == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
    return byte < 0x20 || byte == 0x7F;
}

}  // namespace

std::string printable(std::string_view text, std::size_t size_max) {
    std::string result;
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (result.size() + std::max<std::size_t>(length, 1) > size_max) return result + "...";
        if (length == 0 || is_control(text, length)) {
            result += '?';
            text.remove_prefix(std::max<std::size_t>(length, 1));
        } else {
            result += text.substr(0, length);
            text.remove_prefix(length);
        }
    }
    return result;
}

std::string one_line(std::string_view text, std::size_t size_max) {
    std::string line(text);
    std::ranges::replace_if(
        line, [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
    return printable(line, size_max);
}

std::string without_controls(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = std::max<std::size_t>(utf8_length(text), 1);
        const bool kept = text[0] == '\n' || text[0] == '\t' || !is_control(text, length);
        result += kept ? text.substr(0, length) : "?";
        text.remove_prefix(length);
    }
    return result;
}

}  // namespace chronos
