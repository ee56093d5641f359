#pragma once

#include <cstdint>

#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// CRC-32C (Castagnoli, reflected, initial and final XOR with all ones) as in pg_control.
std::uint32_t crc32c(io::Bytes data);
/// Of both, the second one behind the first.
std::uint32_t crc32c(io::Bytes first, io::Bytes second);
/// Of what has that checksum with `data` behind it; that of nothing is 0.
std::uint32_t crc32c_more(std::uint32_t crc, io::Bytes data);

}  // namespace chronos::pgdata
