#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace chronos::pgdata {

/// Where the fields of pg_control lie, in bytes from its start.
struct ControlLayout {
    std::size_t page_size = 0;
    std::size_t wal_segment_size = 0;
    std::size_t data_checksum_version = 0;
    std::size_t recovery_timeline = 0;  ///< what is replayed, or was when recovery ended
    std::size_t max_connections = 0;    ///< the first of the five values of ServerParameters
    std::size_t next_xid = 0;           ///< with its epoch, 64 bits; 0: the two are apart
    std::size_t crc = 0;                ///< of all bytes before it; 0: the layout is not known
};

/// What distinguishes the servers of one major version, as far as anything here depends on it: a
/// new major version is a line of this table.
/// Source: docs/format/cluster-files.md, Versions, and
/// catalog/pg_control.h, catalog/catversion.h and access/xlog_internal.h of each version.
struct Version {
    std::string_view name;  ///< "15"
    unsigned major = 0;
    std::uint16_t wal_magic = 0;
    std::uint32_t control_version = 0;
    std::uint32_t catalog_version = 0;  ///< of its first release; no minor release changes it
    ControlLayout control;
    std::uint32_t max_locks_per_transaction = 64;  ///< of a server that is told nothing
};

/// All that are known, oldest first. The layout of pg_control is known from version 11 on.
std::span<const Version> versions();

/// The version that has such a pg_control; null if none is known.
///
/// A control version that one major version has to itself fixes the layout: with it a catalog
/// version later than that of the release is taken as well, of a build whose catalogs were
/// changed. (pgBackRest takes that for its newest version only, up to a fixed date.) Whether it is
/// that major version is then for the file PG_VERSION to say: the next one begins with the same
/// control version. An earlier catalog version is that of a beta, whose WAL is another one.
const Version* find_version(std::uint32_t control_version, std::uint32_t catalog_version);

/// "11 to 19": those whose clusters can be read.
std::string supported_versions();

}  // namespace chronos::pgdata
