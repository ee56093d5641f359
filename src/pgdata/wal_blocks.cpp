#include "chronos/pgdata/wal_blocks.h"

#include <array>
#include <cstring>

#include "chronos/pgdata/page_checksum.h"
#include "pgdata/little_endian.h"
#include "pgdata/wal_format.h"

namespace chronos::pgdata {
namespace {

constexpr std::uint8_t kBlockIdMax = 32;
constexpr std::uint8_t kForkMask = 0x0F;
constexpr std::uint8_t kHasImage = 0x10;
constexpr std::uint8_t kWillInit = 0x40;
constexpr std::uint8_t kSameRelation = 0x80;

constexpr std::size_t kBlockHeaderSize = 4;  // id, flags, size of data
constexpr std::size_t kImageHeaderSize = 5;  // size, beginning of the hole, what it is
constexpr std::size_t kHoleSizeSize = 2;
constexpr std::size_t kRelationSize = 12;

constexpr std::uint8_t kImageHasHole = 0x01;

/// What stands in the header of an image.
struct ImageFlags {
    std::uint8_t compressed;
    std::uint8_t applied;  ///< else it is there to be compared only (wal_consistency_checking)
};
constexpr ImageFlags image_flags(unsigned major) {
    return major < 15 ? ImageFlags{0x02, 0x04} : ImageFlags{0x1C, 0x02};
}

std::uint8_t byte_at(io::Bytes record, std::size_t at) {
    return std::to_integer<std::uint8_t>(record[at]);
}

}  // namespace

std::vector<WalBlock> parse_wal_blocks(io::Bytes record, unsigned major) {
    std::vector<WalBlock> blocks;
    if (record.size() < wal_record::kHeaderSize) return blocks;
    const ImageFlags image = image_flags(major);
    std::size_t at = wal_record::kHeaderSize;
    const auto has = [&](std::size_t size) { return size <= record.size() - at; };
    while (at < record.size() && byte_at(record, at) <= kBlockIdMax) {
        if (!has(kBlockHeaderSize)) return {};
        const std::uint8_t flags = byte_at(record, at + 1);
        at += kBlockHeaderSize;
        WalBlock block;
        block.fork = flags & kForkMask;
        block.is_made = (flags & kWillInit) != 0;
        if ((flags & kHasImage) != 0) {
            if (!has(kImageHeaderSize)) return {};
            const std::uint8_t about = byte_at(record, at + kImageHeaderSize - 1);
            block.is_made = block.is_made || (about & image.applied) != 0;
            at += kImageHeaderSize;
            if ((about & kImageHasHole) != 0 && (about & image.compressed) != 0) {
                if (!has(kHoleSizeSize)) return {};
                at += kHoleSizeSize;
            }
        }
        if ((flags & kSameRelation) != 0) {
            if (blocks.empty()) return {};
            block.tablespace = blocks.back().tablespace;
            block.database = blocks.back().database;
            block.relation = blocks.back().relation;
        } else {
            if (!has(kRelationSize)) return {};
            block.tablespace = load<std::uint32_t>(record, at);
            block.database = load<std::uint32_t>(record, at + 4);
            block.relation = load<std::uint32_t>(record, at + 8);
            at += kRelationSize;
        }
        if (!has(sizeof(std::uint32_t))) return {};
        block.block = load<std::uint32_t>(record, at);
        at += sizeof(std::uint32_t);
        blocks.push_back(block);
    }
    return blocks;
}

std::string empty_page(Lsn lsn, std::uint32_t block) {
    constexpr std::uint16_t kSize = kPageSize, kHeaderSize = 24, kLayout = 4;
    constexpr std::size_t kChecksumAt = 8, kLowerAt = 12;
    std::string page(kSize, '\0');
    // The position is two words, the higher one first.
    const std::array<std::uint32_t, 2> position{static_cast<std::uint32_t>(lsn.value >> 32),
                                                static_cast<std::uint32_t>(lsn.value)};
    const std::array<std::uint16_t, 4> layout{kHeaderSize, kSize, kSize, kSize | kLayout};
    std::memcpy(page.data(), position.data(), sizeof position);
    std::memcpy(page.data() + kLowerAt, layout.data(), sizeof layout);
    const std::uint16_t checksum = page_checksum(io::bytes(page), block);
    std::memcpy(page.data() + kChecksumAt, &checksum, sizeof checksum);
    return page;
}

std::string file_of_block(const WalBlock& block) {
    constexpr std::array<const char*, 4> kForks{"", "_fsm", "_vm", "_init"};
    std::string name = std::to_string(block.relation);
    if (block.fork < kForks.size()) name += kForks[block.fork];
    if (const std::uint32_t segment = block.block / kBlocksInSegment; segment > 0)
        name += "." + std::to_string(segment);
    return name;
}

}  // namespace chronos::pgdata
