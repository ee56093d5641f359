#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace chronos {

/// A position in the write-ahead log, in bytes. Text form as PostgreSQL prints it: "1A/2B3C".
struct Lsn {
    std::uint64_t value = 0;

    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes what the compiler makes for a 0.
    auto operator<=>(const Lsn&) const = default;
    std::string str() const;
    static std::optional<Lsn> parse(std::string_view text);
};

using Timeline = std::uint32_t;

}  // namespace chronos
