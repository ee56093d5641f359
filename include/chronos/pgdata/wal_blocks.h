#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// A page that a WAL record is about.
struct WalBlock {
    std::uint32_t tablespace = 0;
    std::uint32_t database = 0;
    std::uint32_t relation = 0;  ///< number of its files
    std::uint8_t fork = 0;       ///< 0: main, 1: fsm, 2: vm, 3: init
    std::uint32_t block = 0;
    /// Replaying the record makes the page, whatever was there: from its image, or from nothing.
    bool is_made = false;
};

/// Those of a whole record; none of what is no such record. `major`: of the server that wrote it,
/// 12 or later. Source: docs/format/cluster-files.md, WAL pages.
std::vector<WalBlock> parse_wal_blocks(io::Bytes record, unsigned major);

/// A page of PostgreSQL 12 or later that has nothing in it and counts as changed up to `lsn`:
/// replaying a record that ends there, or before, leaves it alone. With the checksum of the block
/// of that number, which a cluster without checksums does not look at.
std::string empty_page(Lsn lsn, std::uint32_t block);

/// "16384", "16384_vm.1": the file of a relation that has the block, of segments of 1 GiB.
std::string file_of_block(const WalBlock& block);
inline constexpr std::uint32_t kBlocksInSegment = 131072;
inline constexpr std::uint32_t kPageSize = 8192;  ///< of relations

}  // namespace chronos::pgdata
