#include "chronos/repo/block_map.h"

#include <gmock/gmock.h>

#include <map>

#include "chronos/base/text.h"
#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

constexpr BlockGeometry kSmall{8192, 6};

std::string from_hex_text(std::string_view text) {
    std::string digits(text);
    std::erase(digits, ' ');
    return std::string(io::text(from_hex(digits).value()));
}

/// "ref number, bundle, offset, size, super block size, position, checksum" of each item.
std::vector<std::string> described(const BlockMap& map) {
    std::vector<std::string> lines;
    for (const BlockMapItem& item : map)
        lines.push_back(std::to_string(item.reference) + " " + std::to_string(item.bundle_id) +
                        " " + std::to_string(item.offset) + "+" + std::to_string(item.size) + " " +
                        std::to_string(item.super_block_size) + " @" +
                        std::to_string(item.position) + " " +
                        to_hex(std::span(item.checksum).first(6)));
    return lines;
}

struct Example {
    const char* name;
    std::string_view hex;
    std::vector<std::string> items;
};

// docs/format/bundles-and-blocks.md, A map: maps that pgBackRest wrote.
const Example kExamples[] = {
    {"full",
     "00 01 83800c 06 8e81ac548c3c 04be300f4a5e 215c24458c94",
     {"0 0 0+24576 24576 @0 8e81ac548c3c", "0 0 0+24576 24576 @1 04be300f4a5e",
      "0 0 0+24576 24576 @2 215c24458c94"}},
    {"diff",
     "00 00 87800c 06 00 8e81ac548c3c 08 f9ff0f 7fac9165aae0 07 01 01 215c24458c94",
     {"0 0 0+24576 24576 @0 8e81ac548c3c", "1 0 0+8192 8192 @0 7fac9165aae0",
      "0 0 0+24576 24576 @2 215c24458c94"}},
    {"bundled",
     "00 07 01 9ab160 83800c 06 8e81ac548c3c 04be300f4a5e 215c24458c94",
     {"0 1 1579162+24576 24576 @0 8e81ac548c3c", "0 1 1579162+24576 24576 @1 04be300f4a5e",
      "0 1 1579162+24576 24576 @2 215c24458c94"}},
    {"four backups",
     "00 00 878020 10 00 8e81ac548c3c 18 bff337 0364 00 04be300f4a5e 10 c7f307 04 00 d1f48ddba741"
     "06 03 02 4561bcbdbf14 8690ebdeb0ff 08 ffff2f 04 01 01 3150877119fd 16 00 acae8400319b"
     "06 01 02 3625dbaa34c9 1f 00 c7ff84dbb12e",
     {"0 0 0+65536 65536 @0 8e81ac548c3c", "3 0 0+8292 8292 @0 04be300f4a5e",
      "2 0 0+16384 16384 @0 d1f48ddba741", "0 0 0+65536 65536 @3 4561bcbdbf14",
      "0 0 0+65536 65536 @4 8690ebdeb0ff", "1 0 0+16384 16384 @1 3150877119fd",
      "2 0 0+16384 16384 @1 acae8400319b", "0 0 0+65536 65536 @7 3625dbaa34c9",
      "3 0 0+8292 8292 @1 c7ff84dbb12e"}},
    {"compressed and encrypted",
     "00 01 c304 06 8e81ac548c3c 04be300f4a5e 215c24458c94",
     {"0 0 0+72 24576 @0 8e81ac548c3c", "0 0 0+72 24576 @1 04be300f4a5e",
      "0 0 0+72 24576 @2 215c24458c94"}},
};

TEST(BlockMap, WorkedExamplesOfTheFormatAreReadAndWrittenExactly) {
    for (const Example& example : kExamples) {
        SCOPED_TRACE(example.name);
        const std::string bytes = from_hex_text(example.hex);
        const auto map = parse_block_map(io::bytes(bytes), kSmall);
        ASSERT_OK(map);
        EXPECT_EQ(described(*map), example.items);
        EXPECT_EQ(to_hex(io::bytes(format_block_map(*map, kSmall))), to_hex(io::bytes(bytes)));
    }
}

/// A file through a chain of backups: what the format's writer does to a map, on a model.
class ModelledFile {
public:
    ModelledFile(std::mt19937_64& engine, BlockGeometry geometry)
        : engine_(engine), geometry_(geometry) {}

    /// One more backup: some blocks change, the file grows or shrinks.
    void back_up(std::uint32_t reference) {
        const std::size_t count = 1 + random(40);
        BlockMap next(map_);
        next.resize(std::min(next.size(), count));
        std::vector<std::size_t> fresh;
        for (std::size_t number = 0; number < count; ++number)
            if (number >= next.size() || random(3) == 0) fresh.push_back(number);
        next.resize(count);
        const std::uint64_t bundle_id = random(2) * (1 + random(300));
        std::uint64_t offset = random(2) * random(1 << 20);
        for (std::size_t at = 0; at < fresh.size();)
            at += pack(next, std::span(fresh).subspan(at), {reference, bundle_id}, offset);
        map_ = std::move(next);
    }

    const BlockMap& map() const { return map_; }

private:
    struct Place {
        std::uint32_t reference;
        std::uint64_t bundle_id;
    };

    std::uint64_t random(std::uint64_t limit) { return engine_() % limit; }

    /// Puts the first few of `numbers` into one super block at `offset`; returns how many.
    std::size_t pack(BlockMap& map, std::span<const std::size_t> numbers, Place place,
                     std::uint64_t& offset) {
        const std::size_t count = std::min<std::size_t>(numbers.size(), 1 + random(6));
        BlockMapItem item;
        item.reference = place.reference;
        item.bundle_id = place.bundle_id;
        item.super_block_size = count * geometry_.block_size_bytes;
        // The last block of a file may be short.
        if (numbers[count - 1] + 1 == map.size())
            item.super_block_size -= random(geometry_.block_size_bytes);
        item.offset = offset;
        item.size = 1 + random(1 << 17);
        for (std::size_t position = 0; position < count; ++position) {
            item.position = position;
            for (std::size_t i = 0; i < geometry_.checksum_size_bytes; ++i)
                item.checksum[i] = static_cast<std::byte>(random(256));
            map[numbers[position]] = item;
        }
        offset += item.size;
        return count;
    }

    std::mt19937_64& engine_;
    BlockGeometry geometry_;
    BlockMap map_;
};

TEST(BlockMap, AnyChainOfBackupsSurvivesWritingAndReading) {
    std::mt19937_64 engine(test_seed());
    for (int round = 0; round < 500; ++round) {
        SCOPED_TRACE("seed " + std::to_string(test_seed()) + ", round " + std::to_string(round));
        const BlockGeometry geometry{static_cast<std::uint32_t>(8192 * (1 + engine() % 12)),
                                     static_cast<std::uint32_t>(6 + engine() % 11)};
        ModelledFile file(engine, geometry);
        for (std::uint32_t reference = 0; reference < 6; ++reference) {
            file.back_up(reference);
            const std::string bytes = format_block_map(file.map(), geometry);
            const auto read = parse_block_map(io::bytes(bytes), geometry);
            ASSERT_OK(read);
            ASSERT_EQ(*read, file.map());
        }
    }
}

TEST(BlockMap, EveryTruncationAndAnyTrailingByteIsAFormatError) {
    for (const Example& example : kExamples) {
        const std::string bytes = from_hex_text(example.hex);
        for (std::size_t size = 0; size < bytes.size(); ++size)
            EXPECT_ERROR(
                ErrorKind::format,
                parse_block_map(io::bytes(std::string_view(bytes).substr(0, size)), kSmall));
        EXPECT_ERROR(ErrorKind::format, parse_block_map(io::bytes(bytes + '\0'), kSmall));
    }
}

TEST(BlockMap, DamagedMapsAreRefusedWithAReason) {
    const std::pair<std::string_view, std::string_view> cases[] = {
        {"01 01 83800c 06 8e81ac548c3c04be300f4a5e215c24458c94", "version"},
        {"00 ffffffffffffffffff7f 00", "64 bits"},
        {"00 8080808080808080808000 00", "64 bits"},
        {"00 81808080 80808001 00", "reference"},
        // A super block of 2^61 blocks, of none, and one that ends behind 2^64.
        {"00 01 83800c feffffffffffffff7f 8e81ac548c3c", "too large"},
        {"00 01 83800c feffffffff7f 8e81ac548c3c", "ends early"},
        {"00 01 83800c 00 8e81ac548c3c", "empty"},
        {"00 05 ffffffffffffffffff01 83800c 06 8e81ac548c3c04be300f4a5e215c24458c94", "too large"},
        // Two blocks where the super block has one; a skip past its end.
        {"00 01 85800c 02 8e81ac548c3c04be300f4a5e", "outside"},
        {"00 01 85800c 01 01 8e81ac548c3c", "outside"},
        // The second super block is smaller than nothing.
        {"00 01 8008 8e81ac548c3c f9ffff0f 04be300f4a5e", "negative"},
    };
    for (const auto& [hex, reason] : cases) {
        SCOPED_TRACE(hex);
        const auto read = parse_block_map(io::bytes(from_hex_text(hex)), kSmall);
        EXPECT_ERROR(ErrorKind::format, read);
        EXPECT_THAT(read.error().message(), testing::HasSubstr(reason));
    }
}

TEST(BlockMap, FlippedBitsNeverGiveMoreBlocksThanTheDataHolds) {
    const std::string bytes = from_hex_text(kExamples[3].hex);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        std::string broken = bytes;
        broken[bit / 8] = static_cast<char>(broken[bit / 8] ^ (1 << bit % 8));
        const auto read = parse_block_map(io::bytes(broken), kSmall);
        if (!read) continue;
        EXPECT_LE(read->size(), bytes.size() / kSmall.checksum_size_bytes);
    }
}

TEST(BlockMap, ImpossibleGeometryIsAFormatError) {
    const std::string bytes = from_hex_text(kExamples[0].hex);
    EXPECT_ERROR(ErrorKind::format, parse_block_map(io::bytes(bytes), {0, 6}));
    EXPECT_ERROR(ErrorKind::format, parse_block_map(io::bytes(bytes), {8192, 0}));
    EXPECT_ERROR(ErrorKind::format, parse_block_map(io::bytes(bytes), {8192, 17}));
}

TEST(BlockMap, WhatTheFormatCannotExpressIsNotWritten) {
    const BlockMap map =
        parse_block_map(io::bytes(from_hex_text(kExamples[0].hex)), kSmall).value();
    EXPECT_THROW(format_block_map({}, kSmall), std::logic_error);
    BlockMap jump = map;
    jump.erase(jump.begin() + 1);
    EXPECT_THROW(format_block_map(jump, kSmall), std::logic_error);
    BlockMap backwards = map;
    std::swap(backwards[0].position, backwards[1].position);
    EXPECT_THROW(format_block_map(backwards, kSmall), std::logic_error);
}

}  // namespace
}  // namespace chronos::repo
