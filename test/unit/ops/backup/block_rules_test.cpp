#include "ops/backup/block_rules.h"

#include <gtest/gtest.h>

namespace chronos::ops::backup {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr UnixTime kStart = 1'800'000'000;
constexpr UnixTime kDay = 86400;

repo::ManifestFile file(std::uint64_t size, UnixTime age = 0) {
    repo::ManifestFile result;
    result.size = size;
    result.timestamp = kStart - age;
    return result;
}

struct Row {
    std::uint64_t size;
    UnixTime age;
    std::uint32_t block_size;
    std::uint32_t checksum_size;
};

TEST(ChooseBlocks, GoesByTheTablesOfTheFormat) {
    for (const Row& row : {
             Row{0, 0, 0, 0},
             Row{16 * kKiB - 1, 0, 0, 0},
             Row{16 * kKiB, 0, 8 * kKiB, 6},
             Row{11 * kMiB - 1, 0, 8 * kKiB, 6},
             Row{11 * kMiB, 0, 16 * kKiB, 6},
             Row{43 * kMiB, 0, 24 * kKiB, 6},
             Row{96 * kMiB, 0, 32 * kKiB, 7},
             Row{146 * kMiB, 0, 40 * kKiB, 7},
             Row{1024 * kMiB, 0, 88 * kKiB, 7},
             Row{1024 * kMiB, 7 * kDay - 1, 88 * kKiB, 7},
             Row{1024 * kMiB, 7 * kDay, 176 * kKiB, 8},
             Row{1024 * kMiB, 14 * kDay, 352 * kKiB, 8},
             Row{1024 * kMiB, 28 * kDay, 0, 0},
             Row{1024 * kMiB, -kDay, 88 * kKiB, 7},
         }) {
        const BlockChoice choice = choose_blocks({}, file(row.size, row.age), nullptr, kStart);
        EXPECT_EQ(choice.block_size, row.block_size) << row.size << " " << row.age;
        EXPECT_EQ(choice.checksum_size, row.checksum_size) << row.size;
        EXPECT_FALSE(choice.prior_map);
    }
}

repo::ManifestFile before(std::uint64_t size, std::uint32_t block_size, std::uint64_t map_size) {
    repo::ManifestFile result = file(size);
    result.block_size = block_size;
    result.block_checksum_size = 6;
    result.block_map_size = map_size;
    return result;
}

// The examples of docs/format/bundles-and-blocks.md, Writing blocks.
TEST(ChooseBlocks, KeepsWhatThePriorDecidedAsLongAsItCan) {
    const auto choose = [](const repo::ManifestFile& now, const repo::ManifestFile& prior) {
        return choose_blocks({}, now, &prior, kStart);
    };
    const BlockChoice grown = choose(file(12 * kMiB), before(5 * kMiB, 8 * kKiB, 99));
    EXPECT_EQ(grown.block_size, 8 * kKiB);
    EXPECT_TRUE(grown.prior_map);

    EXPECT_EQ(choose(file(4 * kKiB), before(200 * kKiB, 8 * kKiB, 99)).block_size, 0u);

    const BlockChoice from_nothing = choose(file(40 * kKiB), before(10 * kKiB, 0, 0));
    EXPECT_EQ(from_nothing.block_size, 8 * kKiB);
    EXPECT_FALSE(from_nothing.prior_map);

    EXPECT_EQ(choose(file(kMiB), before(kMiB, 0, 0)).block_size, 0u) << "stored whole stays whole";

    const BlockChoice again = choose(file(kMiB, 29 * kDay), before(kMiB, 16 * kKiB, 0));
    EXPECT_EQ(again.block_size, 16 * kKiB);
    EXPECT_FALSE(again.prior_map);
}

BlockRules always_in_blocks() {
    BlockRules rules;
    rules.always = true;
    return rules;
}

TEST(ChooseBlocks, AlwaysCutsFilesOfAnyAge) {
    const BlockRules always = always_in_blocks();
    for (const Row& row : {
             Row{0, 0, 0, 0},
             Row{16 * kKiB - 1, 400 * kDay, 0, 0},
             Row{16 * kKiB, 28 * kDay, 32 * kKiB, 7},
             Row{1024 * kMiB, 400 * kDay, 352 * kKiB, 8},
             Row{1024 * kMiB, 20 * kDay, 352 * kKiB, 8},
             Row{1024 * kMiB, 7 * kDay, 176 * kKiB, 8},
             Row{1024 * kMiB, 0, 88 * kKiB, 7},
         }) {
        const BlockChoice choice = choose_blocks(always, file(row.size, row.age), nullptr, kStart);
        EXPECT_EQ(choice.block_size, row.block_size) << row.size << " " << row.age;
        EXPECT_EQ(choice.checksum_size, row.checksum_size) << row.size << " " << row.age;
    }
    BlockRules none_ever = always;
    none_ever.age_map = {{0, 0}};
    EXPECT_EQ(choose_blocks(none_ever, file(kMiB), nullptr, kStart).block_size, 8 * kKiB);
}

// What is stored anew need not be whole because it was; what is in blocks goes on with them.
TEST(ChooseBlocks, AlwaysEndsThatWholeStaysWhole) {
    const BlockRules always = always_in_blocks();
    const auto choose = [&](const repo::ManifestFile& now, const repo::ManifestFile& prior) {
        return choose_blocks(always, now, &prior, kStart);
    };
    const BlockChoice whole = choose(file(kMiB), before(kMiB, 0, 0));
    EXPECT_EQ(whole.block_size, 8 * kKiB);
    EXPECT_FALSE(whole.prior_map);
    const BlockChoice for_once = choose(file(kMiB), before(kMiB, 16 * kKiB, 0));
    EXPECT_EQ(for_once.block_size, 16 * kKiB);
    EXPECT_FALSE(for_once.prior_map);
    const BlockChoice blocks = choose(file(kMiB, 40 * kDay), before(kMiB, 8 * kKiB, 99));
    EXPECT_EQ(blocks.block_size, 8 * kKiB);
    EXPECT_TRUE(blocks.prior_map);
}

TEST(ChooseBlocks, TablesCanBeReplaced) {
    BlockRules rules;
    rules.size_map = {{kKiB, 24 * kKiB}};
    rules.age_map = {{0, 3}};
    rules.checksum_map = {{64 * kKiB, 16}};
    const BlockChoice choice = choose_blocks(rules, file(2 * kKiB), nullptr, kStart);
    EXPECT_EQ(choice.block_size, 72 * kKiB);
    EXPECT_EQ(choice.checksum_size, 16u);
}

// As pgBackRest 2.60 does: a manifest counts blocks in 8 KiB, and what is less is none.
TEST(ChooseBlocks, CutsBlockSizesToWhatAManifestHolds) {
    for (const auto& [size, age, expected] :
         {std::tuple(4 * kKiB, 0, 0u), std::tuple(4 * kKiB, 7, 8192u), std::tuple(8193ul, 0, 8192u),
          std::tuple(8193ul, 7, 16384u), std::tuple(20 * kKiB, 7, 40960u)}) {
        BlockRules rules;
        rules.size_map = {{16 * kKiB, size}};
        EXPECT_EQ(choose_blocks(rules, file(kMiB, age * kDay), nullptr, kStart).block_size,
                  expected)
            << size << " " << age;
    }
}

TEST(SuperBlockSize, IsWholeBlocks) {
    const BlockRules rules{.super_block_size = 256 * kKiB, .super_block_size_full = kMiB};
    EXPECT_EQ(super_block_size(rules, repo::BackupType::full, 8 * kKiB), kMiB);
    EXPECT_EQ(super_block_size(rules, repo::BackupType::incr, 88 * kKiB), 264 * kKiB);
}

}  // namespace
}  // namespace chronos::ops::backup
