#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace chronos::pgdata {

inline constexpr std::size_t kPage = 8192;
inline constexpr std::uint64_t kStart = std::uint64_t{5} << 24;
inline constexpr std::int64_t kEpochUs = std::int64_t{946684800} * 1000000;  ///< 2000-01-01

template <class Value>
std::string raw(Value value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// Puts a record into WAL, over the headers of pages and as far as the content goes.
inline void put(std::string& content, std::size_t at, std::string record) {
    while (!record.empty() && at < content.size()) {
        const std::size_t here = std::min(record.size(), kPage - at % kPage);
        content.replace(at, here, record.substr(0, here));
        record.erase(0, here);
        at += here + 24;
    }
}

}  // namespace chronos::pgdata
