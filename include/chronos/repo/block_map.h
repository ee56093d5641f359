#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/io/stream.h"

namespace chronos::repo {

/// Where one block of a file is and what it looks like.
struct BlockMapItem {
    std::uint32_t reference = 0;           ///< index into Manifest::references
    std::uint64_t super_block_size = 0;    ///< uncompressed bytes of the super block it lies in
    std::uint64_t bundle_id = 0;           ///< 0: the ".pgbi" file
    std::uint64_t offset = 0;              ///< of the super block in that object, bytes
    std::uint64_t size = 0;                ///< stored bytes of the super block
    std::uint64_t position = 0;            ///< block number inside the super block
    std::array<std::byte, 16> checksum{};  ///< the first block_checksum_size bytes count
    bool operator==(const BlockMapItem&) const = default;
};

/// One item per block of the file, in order.
using BlockMap = std::vector<BlockMapItem>;

struct BlockGeometry {
    std::uint32_t block_size_bytes = 0;
    std::uint32_t checksum_size_bytes = 6;
};

/// Source: docs/format/bundles-and-blocks.md, Block map. Malformed input is an error of kind format
/// and never more memory than its length justifies.
Result<BlockMap> parse_block_map(io::Bytes data, BlockGeometry geometry);
std::string format_block_map(const BlockMap& map, BlockGeometry geometry);

}  // namespace chronos::repo
