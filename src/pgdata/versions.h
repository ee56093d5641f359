#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace chronos::pgdata {

/// Where the fields of pg_control lie, in bytes from its start.
struct ControlLayout {
    std::size_t page_size = 0;
    std::size_t wal_segment_size = 0;
    std::size_t data_checksum_version = 0;
    std::size_t recovery_timeline = 0;  ///< what is replayed, or was when recovery ended
    std::size_t crc = 0;                ///< of all bytes before it; 0: the layout is not known
};

/// What distinguishes the files of one major version.
/// Source: repository-format reference, section 4.2; postgres-integration reference, section 9.4.
struct Version {
    std::string_view name;  ///< "15"
    unsigned major = 0;
    std::uint16_t wal_magic = 0;
    std::uint32_t control_version = 0;
    std::uint32_t catalog_version = 0;
    ControlLayout control;
};

/// All that are known, oldest first. The layout of pg_control is known from version 11 on.
std::span<const Version> versions();

}  // namespace chronos::pgdata
