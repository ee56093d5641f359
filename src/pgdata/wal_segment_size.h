#pragma once

#include <cstdint>

#include "chronos/base/result.h"

namespace chronos::pgdata {

/// Kind format unless PostgreSQL allows segments of that size.
Result<> check_wal_segment_size(std::uint32_t size_bytes);

}  // namespace chronos::pgdata
