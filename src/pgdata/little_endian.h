#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

#include "chronos/io/stream.h"

namespace chronos::pgdata {

// A cluster's files are in the byte order of its machine, and the format of the repository is
// defined for little-endian ones only.
static_assert(std::endian::native == std::endian::little);

/// The value at `offset`, which together with its size lies within `data`.
template <std::unsigned_integral T>
T load(io::Bytes data, std::size_t offset) {
    T value;
    std::memcpy(&value, data.subspan(offset, sizeof value).data(), sizeof value);
    return value;
}

template <std::unsigned_integral T>
void store(io::MutableBytes data, std::size_t offset, T value) {
    std::memcpy(data.subspan(offset, sizeof value).data(), &value, sizeof value);
}

}  // namespace chronos::pgdata
