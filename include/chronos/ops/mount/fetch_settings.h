#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "chronos/base/given.h"

namespace chronos::ops::mount {

/// How what is read of a mounted backup is fetched, and how much of it is kept meanwhile.
struct FetchSettings {
    Given<std::uint64_t> cache_bytes;
    Given<std::uint64_t> spool_bytes;
    std::string spool_path;
    Given<unsigned> process_max;
    Given<std::chrono::milliseconds> io_timeout;
};

}  // namespace chronos::ops::mount
