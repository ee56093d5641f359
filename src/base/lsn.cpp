#include "chronos/base/lsn.h"

#include <charconv>
#include <cstdio>

namespace chronos {
namespace {

bool parse_hex32(std::string_view text, std::uint32_t& value) {
    if (text.empty() || text.size() > 8) return false;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return code == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string Lsn::str() const {
    char text[24];
    std::snprintf(text, sizeof text, "%X/%X", static_cast<unsigned>(value >> 32),
                  static_cast<unsigned>(value & 0xFFFFFFFFu));
    return text;
}

std::optional<Lsn> Lsn::parse(std::string_view text) {
    const std::size_t slash = text.find('/');
    std::uint32_t high = 0;
    std::uint32_t low = 0;
    if (slash == std::string_view::npos || !parse_hex32(text.substr(0, slash), high) ||
        !parse_hex32(text.substr(slash + 1), low))
        return std::nullopt;
    return Lsn{static_cast<std::uint64_t>(high) << 32 | low};
}

}  // namespace chronos
