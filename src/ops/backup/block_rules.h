#pragma once

#include <cstdint>

#include "chronos/ops/backup/backup.h"
#include "chronos/repo/manifest.h"

namespace chronos::ops::backup {

/// How one file is cut into blocks.
struct BlockChoice {
    std::uint32_t block_size = 0;     ///< bytes; 0: the file is stored whole
    std::uint32_t checksum_size = 0;  ///< bytes
    bool prior_map = false;           ///< its blocks are compared with those of the prior
};

/// `file` as it is in the list, `before` the prior's entry of that name or null, `start` when the
/// backup began: a file whose last change is long ago has large blocks, or none. What the prior
/// decided stays as long as it can. Source: docs/format/bundles-and-blocks.md, Which files are cut.
BlockChoice choose_blocks(const BlockRules& rules, const repo::ManifestFile& file,
                          const repo::ManifestFile* before, UnixTime start);

/// Bytes at which a super block of such blocks is complete.
std::uint64_t super_block_size(const BlockRules& rules, repo::BackupType type,
                               std::uint32_t block_size);

}  // namespace chronos::ops::backup
