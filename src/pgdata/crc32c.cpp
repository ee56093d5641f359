#include "pgdata/crc32c.h"

#include <isa-l.h>

namespace chronos::pgdata {
namespace {

/// ISA-L takes the register as it is and leaves both inversions to the caller; its buffer
/// parameter lacks a const.
unsigned add(io::Bytes data, unsigned crc) {
    auto* buffer = const_cast<unsigned char*>(  // NOLINT(*-const-cast)
        reinterpret_cast<const unsigned char*>(data.data()));
    return crc32_iscsi(buffer, static_cast<int>(data.size()), crc);
}

}  // namespace

std::uint32_t crc32c(io::Bytes data) {
    return ~add(data, 0xFFFFFFFFu);
}

std::uint32_t crc32c(io::Bytes first, io::Bytes second) {
    return ~add(second, add(first, 0xFFFFFFFFu));
}

std::uint32_t crc32c_more(std::uint32_t crc, io::Bytes data) {
    return ~add(data, ~crc);
}

}  // namespace chronos::pgdata
