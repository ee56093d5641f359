#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "chronos/repo/block_map.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// Where the bytes of a file of a backup lie: the object and the slice of it.
struct StoredLocation {
    std::string object;  ///< e.g. "backup/main/20261120-075745F/pg_data/PG_VERSION.gz"
    storage::Range range;
};
StoredLocation locate(const std::string& stanza, const Manifest& manifest,
                      const ManifestFile& file);

/// Writes the content of a file that is stored whole (not block incremental, size > 0) to `sink`
/// and finishes it: read, decrypt, decompress in the form the manifest demands. Errors name file
/// and object. Does not compare the checksum: the caller's sink does.
Result<> read_whole_file(const Repository& repository, const std::string& stanza,
                         const Manifest& manifest, const ManifestFile& file, io::Sink& sink);

/// The block map of a block-incremental file.
Result<BlockMap> read_block_map(const Repository& repository, const std::string& stanza,
                                const Manifest& manifest, const ManifestFile& file);

/// Called with the content of block `number` of the file; blocks come in any order.
using BlockReceiver = std::function<Result<>(std::uint64_t number, io::Bytes content)>;

/// Reads the blocks of `map` for which `wanted[number]` is true (all if `wanted` is empty): super
/// blocks that touch are fetched by one ranged read; memory is bounded by one super block.
Result<> read_blocks(const Repository& repository, const std::string& stanza,
                     const Manifest& manifest, const ManifestFile& file, const BlockMap& map,
                     const std::vector<bool>& wanted, const BlockReceiver& receive);

/// The content of a small file of the backup, however it is stored: whole, by block, or not at all
/// because it is empty. Compared with the checksum of the manifest. A file larger than
/// `size_max_bytes` is an error of kind file_read, and nothing of it is read.
Result<std::string> read_small_file(const Repository& repository, const std::string& stanza,
                                    const Manifest& manifest, const ManifestFile& file,
                                    std::uint64_t size_max_bytes);

}  // namespace chronos::repo
