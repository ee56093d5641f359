#pragma once

#include <cstdint>

#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// CRC-32C (Castagnoli, reflected, initial and final XOR with all ones) as in pg_control.
std::uint32_t crc32c(io::Bytes data);
/// Of both, the second one behind the first.
std::uint32_t crc32c(io::Bytes first, io::Bytes second);

}  // namespace chronos::pgdata
