#include "pgdata/crc32c.h"

#include <isa-l.h>

namespace chronos::pgdata {

std::uint32_t crc32c(io::Bytes data) {
    // ISA-L takes the register as it is and leaves both inversions to the caller; its buffer
    // parameter lacks a const.
    auto* buffer = const_cast<unsigned char*>(  // NOLINT(*-const-cast)
        reinterpret_cast<const unsigned char*>(data.data()));
    return ~crc32_iscsi(buffer, static_cast<int>(data.size()), 0xFFFFFFFFu);
}

}  // namespace chronos::pgdata
