#include "chronos/pgdata/server_parameters.h"

#include <gtest/gtest.h>

#include <cstring>

#include "control_vector.h"
#include "pgdata/crc32c.h"
#include "wal_sample.h"

namespace chronos::pgdata {
namespace {

/// Three pages: the first with the long header, as at the start of a segment.
std::string three_pages() {
    std::string content(3 * kPage, '\0');
    content[2] = 0x02;
    return content;
}

/// The record as a server writes it.
std::string change_of(const std::array<std::uint32_t, 5>& values, char level = 1) {
    std::string data("\xFF\x1C", 2);
    for (const std::uint32_t value : values)
        data.append(reinterpret_cast<const char*>(&value), sizeof value);
    data += level;
    data.append(7, '\0');  // the rest of wal_level, and two flags
    std::string header(20, '\0');
    header[0] = 54;
    header[16] = 0x60;
    const std::uint32_t crc = crc32c(io::bytes(data + header));
    header.append(reinterpret_cast<const char*>(&crc), sizeof crc);
    return header + data;
}

TEST(ServerParameters, AreThoseOfTheControlFile) {
    const auto found = parameters_in_control_file(io::bytes(control_15()));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->values, (std::array<std::uint32_t, 5>{100, 8, 10, 0, 64}));
    const auto later = parameters_in_control_file(io::bytes(control_19()));
    ASSERT_TRUE(later);
    EXPECT_EQ(later->values, (std::array<std::uint32_t, 5>{77, 11, 6, 5, 99}));
    EXPECT_FALSE(parameters_in_control_file(io::bytes("too short")));
}

// What is not set is as high as the server has it: 128 locks in 19, 64 before.
TEST(ServerParameters, StandardIsThatOfTheVersion) {
    EXPECT_EQ(ServerParameters::settings(18)[4].standard, 64u);
    EXPECT_EQ(ServerParameters::settings(19)[4].standard, 128u);
    EXPECT_EQ(ServerParameters::settings(19)[0].standard, 100u);
}

TEST(ServerParameters, TheHighestOfAllRecordsCounts) {
    std::string content = three_pages();
    EXPECT_FALSE(parameters_in_wal(io::bytes(content)));
    put(content, 40, change_of({300, 8, 10, 50, 64}));
    put(content, 2 * kPage + 24, change_of({100, 16, 10, 0, 64}));
    const auto found = parameters_in_wal(io::bytes(content));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->values, (std::array<std::uint32_t, 5>{300, 16, 10, 50, 64}));
}

TEST(ServerParameters, ARecordMayGoOnOnTheNextPage) {
    for (std::size_t at = kPage - 56; at < kPage; at += 8) {
        std::string content = three_pages();
        put(content, at, change_of({300, 8, 10, 0, 64}));
        const auto found = parameters_in_wal(io::bytes(content));
        ASSERT_TRUE(found) << at;
        EXPECT_EQ(found->values[0], 300u);
    }
    std::string content = three_pages();
    put(content, 3 * kPage - 24, change_of({300, 8, 10, 0, 64}).substr(0, 24));
    EXPECT_FALSE(parameters_in_wal(io::bytes(content))) << "it goes on in the next segment";
}

// Table data may look like anything.
TEST(ServerParameters, WhatOnlyLooksLikeARecordIsNone) {
    const std::string good = change_of({300, 8, 10, 0, 64});
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 0x01);
        std::string content = three_pages();
        put(content, 80, bad);
        EXPECT_FALSE(parameters_in_wal(io::bytes(content))) << i;
    }
}

TEST(ServerParameters, MinimalWalIsFoundWhereItBegins) {
    constexpr std::uint64_t kStart = 0x3000000;
    std::string content = three_pages();
    const auto set_address = [&](std::size_t page, std::uint64_t address) {
        std::memcpy(content.data() + page * kPage + 8, &address, sizeof address);
    };
    for (std::size_t page = 0; page < 3; ++page) set_address(page, kStart + page * kPage);
    put(content, kPage + 80, change_of({100, 8, 10, 0, 64}, /*level=*/1));
    EXPECT_FALSE(minimal_wal_from(io::bytes(content)));
    put(content, 2 * kPage + 80, change_of({100, 8, 10, 0, 64}, /*level=*/0));
    EXPECT_EQ(minimal_wal_from(io::bytes(content)), Lsn{kStart + 2 * kPage + 80});
    put(content, kPage - 24, change_of({100, 8, 10, 0, 64}, /*level=*/0));
    EXPECT_EQ(minimal_wal_from(io::bytes(content)), Lsn{kStart + kPage - 24}) << "over two pages";
    content = content.replace(kPage - 24, 24, std::string(24, '\0'));
    set_address(2, kStart - 5 * kPage);
    EXPECT_FALSE(minimal_wal_from(io::bytes(content))) << "left over from before";
}

}  // namespace
}  // namespace chronos::pgdata
