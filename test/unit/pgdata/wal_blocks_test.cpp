// What a record of the WAL is about, and whether it makes those pages, whichever server wrote it.
#include "chronos/pgdata/wal_blocks.h"

#include <gtest/gtest.h>

#include <string>

#include "chronos/pgdata/page_checksum.h"
#include "wal_sample.h"

namespace chronos::pgdata {
namespace {

std::string one_byte(unsigned value) {
    return std::string(1, static_cast<char>(value));
}
std::string block_relation(std::uint32_t tablespace, std::uint32_t database, std::uint32_t number) {
    return raw(tablespace) + raw(database) + raw(number);
}
/// Id, flags, size of data.
std::string block_head(unsigned id, unsigned flags) {
    return one_byte(id) + one_byte(flags) + raw(std::uint16_t{0});
}
std::string block_image(unsigned about) {
    return raw(std::uint16_t{100}) + raw(std::uint16_t{40}) + one_byte(about);
}

std::vector<WalBlock> blocks_of(const std::string& body, unsigned major = 15) {
    return parse_wal_blocks(io::bytes(std::string(24, '\0') + body), major);
}

TEST(WalBlocks, AreNamedWithTheirForks) {
    const auto blocks = blocks_of(
        block_head(0, 0x02) + block_relation(1663, 5, 16384) + raw(std::uint32_t{1}) +
        block_head(1, 0x80) + raw(std::uint32_t{131073}) + block_head(2, 0x20) +
        block_relation(16400, 6, 7) + raw(std::uint32_t{0}) + one_byte(255) + one_byte(3) + "abc");
    ASSERT_EQ(blocks.size(), 3u);
    EXPECT_EQ(file_of_block(blocks[0]), "16384_vm");
    EXPECT_EQ(file_of_block(blocks[1]), "16384.1");
    EXPECT_EQ(blocks[1].database, 5u);
    EXPECT_EQ(blocks[2].tablespace, 16400u);
    EXPECT_EQ(blocks[2].database, 6u);
    for (const WalBlock& block : blocks) EXPECT_FALSE(block.is_made);
}

TEST(WalBlocks, AreMadeByImagesThatAreApplied) {
    const std::string behind = block_relation(1663, 5, 16384) + raw(std::uint32_t{9});
    const auto is_made = [&](unsigned about, unsigned major, bool has_hole_size) {
        const auto blocks = blocks_of(block_head(0, 0x10) + block_image(about) +
                                          (has_hole_size ? raw(std::uint16_t{50}) : "") + behind +
                                          one_byte(255) + one_byte(0),
                                      major);
        EXPECT_EQ(blocks.size(), 1u) << about << " " << major;
        if (blocks.size() != 1) return false;
        EXPECT_EQ(blocks[0].block, 9u) << about << " " << major;
        return blocks[0].is_made;
    };
    EXPECT_TRUE(is_made(0x01 | 0x02, 15, false));
    for (const unsigned method : {0x04u, 0x08u, 0x10u})
        EXPECT_TRUE(is_made(0x01 | 0x02 | method, 18, true));
    EXPECT_TRUE(is_made(0x02 | 0x04, 18, false)) << "compressed, without a hole";
    EXPECT_FALSE(is_made(0x01, 15, false)) << "only to be compared";
    EXPECT_TRUE(is_made(0x01 | 0x04, 14, false));
    EXPECT_TRUE(is_made(0x01 | 0x02 | 0x04, 14, true));
    EXPECT_FALSE(is_made(0x01 | 0x02, 14, true)) << "only to be compared";
    const auto from_nothing = blocks_of(block_head(0, 0x40) + behind);
    ASSERT_EQ(from_nothing.size(), 1u);
    EXPECT_TRUE(from_nothing[0].is_made);
}

TEST(WalBlocks, ARecordThatIsCutHasNone) {
    const std::string whole = block_head(0, 0x10) + block_image(0x01 | 0x02 | 0x04) +
                              raw(std::uint16_t{50}) + block_relation(1663, 5, 16384) +
                              raw(std::uint32_t{9});
    EXPECT_EQ(blocks_of(whole).size(), 1u);
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_TRUE(blocks_of(whole.substr(0, size)).empty()) << size;
    EXPECT_TRUE(blocks_of(block_head(0, 0x80) + raw(std::uint32_t{1})).empty())
        << "the same as no other";
    EXPECT_TRUE(parse_wal_blocks(io::bytes(std::string("short")), 15).empty());
    EXPECT_TRUE(blocks_of(one_byte(255) + one_byte(1) + "x").empty());
}

TEST(WalBlocks, AnEmptyPageIsOne) {
    const std::string page = empty_page(Lsn{0x0000000512345678}, 7);
    ASSERT_EQ(page.size(), kPageSize);
    EXPECT_EQ(page.substr(0, 8), raw(std::uint32_t{5}) + raw(std::uint32_t{0x12345678}));
    EXPECT_EQ(page.substr(8, 2), raw(page_checksum(io::bytes(page), 7)));
    EXPECT_EQ(page.substr(12, 8), raw(std::uint16_t{24}) + raw(std::uint16_t{8192}) +
                                      raw(std::uint16_t{8192}) + raw(std::uint16_t{8196}));
    EXPECT_EQ(page.substr(20), std::string(8172, '\0'));
}

}  // namespace
}  // namespace chronos::pgdata
