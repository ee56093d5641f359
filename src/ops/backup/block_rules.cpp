#include "ops/backup/block_rules.h"

#include <limits>

namespace chronos::ops::backup {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kBlockSizeUnit = 8 * kKiB;  // in which a manifest counts
constexpr std::uint64_t kChecksumSizeMin = 6;

/// The value of the largest key that is not above `at`.
std::uint64_t look_up(const std::map<std::uint64_t, std::uint64_t>& table, std::uint64_t at,
                      std::uint64_t otherwise) {
    auto next = table.upper_bound(at);
    return next == table.begin() ? otherwise : std::prev(next)->second;
}

const std::map<std::uint64_t, std::uint64_t>& or_default(
    const std::map<std::uint64_t, std::uint64_t>& given,
    const std::map<std::uint64_t, std::uint64_t>& usual) {
    return given.empty() ? usual : given;
}

const std::map<std::uint64_t, std::uint64_t> kSizes = {
    {16 * kKiB, 8 * kKiB},   {11 * kMiB, 16 * kKiB},  {43 * kMiB, 24 * kKiB},
    {96 * kMiB, 32 * kKiB},  {146 * kMiB, 40 * kKiB}, {228 * kMiB, 48 * kKiB},
    {329 * kMiB, 56 * kKiB}, {448 * kMiB, 64 * kKiB}, {585 * kMiB, 72 * kKiB},
    {740 * kMiB, 80 * kKiB}, {914 * kMiB, 88 * kKiB}};
const std::map<std::uint64_t, std::uint64_t> kAges = {{7, 2}, {14, 4}, {28, 0}};
const std::map<std::uint64_t, std::uint64_t> kChecksumSizes = {{32 * kKiB, 7},  {128 * kKiB, 8},
                                                               {512 * kKiB, 9}, {1 * kMiB, 10},
                                                               {2 * kMiB, 11},  {4 * kMiB, 12}};

/// What the block size is multiplied by for the age of the file; 0: it is stored whole.
std::uint64_t multiplier(const BlockRules& rules, const repo::ManifestFile& file, UnixTime start) {
    const std::uint64_t age_days =
        file.timestamp < start ? static_cast<std::uint64_t>((start - file.timestamp) / kDay_s) : 0;
    const auto& ages = or_default(rules.age_map, kAges);
    auto next = ages.upper_bound(age_days);
    // Where nothing is too old, what would be has the largest blocks, and so the smallest map.
    while (next != ages.begin())
        if ((--next)->second != 0 || !rules.always) return next->second;
    return 1;
}

BlockChoice by_tables(const BlockRules& rules, const repo::ManifestFile& file, UnixTime start) {
    const std::uint64_t size =
        look_up(or_default(rules.size_map, kSizes), file.size, 0) * multiplier(rules, file, start);
    const std::uint64_t cut = size / kBlockSizeUnit * kBlockSizeUnit;
    if (cut == 0 || cut > std::numeric_limits<std::uint32_t>::max()) return {};
    return {static_cast<std::uint32_t>(cut),
            static_cast<std::uint32_t>(
                look_up(or_default(rules.checksum_map, kChecksumSizes), cut, kChecksumSizeMin)),
            false};
}

}  // namespace

BlockChoice choose_blocks(const BlockRules& rules, const repo::ManifestFile& file,
                          const repo::ManifestFile* before, UnixTime start) {
    if (file.size == 0) return {};
    if (before != nullptr) {
        const bool same_size =
            before->size == file.size && (before->block_size != 0 || !rules.always);
        const bool goes_on =
            same_size || (before->block_incremental() && file.size >= before->block_size);
        if (goes_on)
            return {before->block_size, before->block_checksum_size, before->block_incremental()};
    }
    return by_tables(rules, file, start);
}

std::uint64_t super_block_size(const BlockRules& rules, repo::BackupType type,
                               std::uint32_t block_size) {
    const std::uint64_t size =
        type == repo::BackupType::full ? rules.super_block_size_full : rules.super_block_size;
    return (size + block_size - 1) / block_size * block_size;
}

}  // namespace chronos::ops::backup
