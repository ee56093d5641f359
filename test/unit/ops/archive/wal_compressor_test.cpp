#include "ops/archive/wal_compressor.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::ops::archive {
namespace {

using compress::CompressType;
using compress::Reach;

constexpr int kLevel = 3;

std::string in_room(std::size_t room, const auto& compress) {
    std::string out(room, '\0');
    const Result<std::size_t> size = compress(std::as_writable_bytes(std::span(out)));
    EXPECT_OK(size);
    out.resize(size ? *size : 0);
    return out;
}

/// Rows that resemble the ones just before them.
std::string near_content() {
    std::string rows;
    for (int row = 0; row < 20'000; ++row)
        rows += "account " + std::to_string(row * 7) + " has " + std::to_string(row % 97) + "; ";
    return rows;
}

/// Nothing comes back but all of it, after a megabyte.
std::string far_content() {
    const std::string text = random_text(std::size_t{1} << 20);
    return text + text + text;
}

std::string as(Reach reach, const std::string& content) {
    return in_room(content.size() * 2, [&](io::MutableBytes out) {
        return compress::compress_whole(CompressType::zst, kLevel, io::bytes(content), out, reach);
    });
}

/// What looking near only makes larger.
double excess(const std::string& content) {
    const auto size = [&](Reach reach) { return static_cast<double>(as(reach, content).size()); };
    return size(Reach::near) / size(Reach::of_level) - 1;
}

class WalCompressorTest : public testing::Test {
protected:
    std::string next(const std::string& content) {
        return in_room(content.size() * 2, [&](io::MutableBytes out) {
            return compressor_.compress(io::bytes(content), out);
        });
    }
    void next(const std::string& content, unsigned count) {
        while (count-- > 0) next(content);
    }

    WalCompressor compressor_{CompressType::zst, kLevel};
};

TEST_F(WalCompressorTest, TheContentsDiffer) {
    EXPECT_NE(as(Reach::near, near_content()), as(Reach::of_level, near_content()));
    EXPECT_LE(excess(near_content()), WalCompressor::kSizeExcessMax);
    EXPECT_GT(excess(far_content()), WalCompressor::kSizeExcessMax * 2);
}

TEST_F(WalCompressorTest, ASingleSegmentIsMadeAsTheLevelDoes) {
    EXPECT_EQ(next(near_content()), as(Reach::of_level, near_content()));
}

TEST_F(WalCompressorTest, WhereNothingComesBackFromAfarNothingIsLookedForThere) {
    next(near_content(), 2);
    EXPECT_EQ(next(near_content()), as(Reach::near, near_content()));
}

TEST_F(WalCompressorTest, WhatComesBackFromAfarIsFound) {
    next(far_content(), 2);
    EXPECT_EQ(next(far_content()), as(Reach::of_level, far_content()));
}

TEST_F(WalCompressorTest, AChangeIsSeenWithinAnInterval) {
    next(near_content(), 2);
    next(far_content(), WalCompressor::kProbeInterval);
    EXPECT_EQ(next(far_content()), as(Reach::of_level, far_content()));
}

TEST_F(WalCompressorTest, OtherCodecsAndLevelsAreAsTheyAre) {
    for (const auto& [type, level] :
         {std::pair{CompressType::gz, 6}, {CompressType::zst, 1}, {CompressType::zst, 9}}) {
        WalCompressor compressor(type, level);
        const std::string content = near_content();
        for (int count = 0; count < 3; ++count) {
            const std::string made = in_room(content.size(), [&](io::MutableBytes out) {
                return compressor.compress(io::bytes(content), out);
            });
            EXPECT_EQ(made, in_room(content.size(), [&](io::MutableBytes out) {
                          return compress::compress_whole(type, level, io::bytes(content), out);
                      }));
        }
    }
}

}  // namespace
}  // namespace chronos::ops::archive
