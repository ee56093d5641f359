#include "chronos/pgdata/wal_targets.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <limits>

#include "pgdata/crc32c.h"
#include "wal_sample.h"

namespace chronos::pgdata {
namespace {

std::string four_pages() {
    std::string content(4 * kPage, '\0');
    content[2] = 0x02;
    content.replace(8, 8, raw(kStart));
    return content;
}

std::string record_of(unsigned manager, unsigned info, std::uint32_t xid, const std::string& data) {
    std::string body;
    if (data.size() < 256)
        body = "\xFF" + std::string(1, static_cast<char>(data.size())) + data;
    else
        body = "\xFE" + raw(static_cast<std::uint32_t>(data.size())) + data;
    std::string header = raw(static_cast<std::uint32_t>(24 + body.size())) + raw(xid) +
                         raw(kStart - 64) + static_cast<char>(info) + static_cast<char>(manager) +
                         std::string(2, '\0');
    return header + raw(crc32c(io::bytes(body + header))) + body;
}

std::string end_of(std::uint32_t xid, std::int64_t time_us, unsigned operation = 0x00,
                   std::size_t extra = 0) {
    return record_of(1, operation, xid, raw(time_us - kEpochUs) + std::string(extra, 'x'));
}

std::string restore_point(const std::string& name) {
    std::string data = raw(std::int64_t{1}) + name;
    data.resize(72, '\0');
    return record_of(0, 0x70, 0, data);
}

TEST(WalTargets, EndsOfTransactionsAreFoundWithTheLatestTime) {
    std::string content = four_pages();
    put(content, 40, end_of(700, kEpochUs + 5000));
    put(content, 160, end_of(701, kEpochUs + 9000, 0x20));
    put(content, 2 * kPage - 32, end_of(702, kEpochUs + 7000, 0x00, 9000));
    for (const std::uint32_t xid : {700u, 701u, 702u}) {
        const TargetInWal found = find_target_in_wal(io::bytes(content), {xid, "", {}});
        EXPECT_TRUE(found.found) << xid;
        EXPECT_FALSE(found.uncertain);
        EXPECT_EQ(found.last_end_us, kEpochUs + 9000);
    }
    EXPECT_FALSE(find_target_in_wal(io::bytes(content), {703, "", {}}).found);
    EXPECT_FALSE(find_target_in_wal(io::bytes(content), {std::nullopt, "x", {}}).found);
}

TEST(WalTargets, ATimeThatNoClockShowsDoesNotCount) {
    std::string content = four_pages();
    put(content, 40, end_of(700, kEpochUs + 5000));
    put(content, 160, end_of(701, std::numeric_limits<std::int64_t>::max()));
    const TargetInWal found = find_target_in_wal(io::bytes(content), {701, "", {}});
    EXPECT_TRUE(found.found) << "the transaction ends there all the same";
    EXPECT_EQ(found.last_end_us, kEpochUs + 5000);
}

// Whoever may insert rows puts bytes into the WAL: heads of records one behind the other, each as
// long as all that follows.
TEST(WalTargets, RowsThatLookLikeRecordsDoNotTakeTheSquareOfTheirSize) {
    std::string content(64 * kPage, '\0');
    content[2] = 0x02;
    content.replace(8, 8, raw(kStart));
    put(content, 40, end_of(700, kEpochUs + 5000));
    for (std::size_t at = kPage + 24; at + kPage < content.size(); at += 32) {
        if (at % kPage < 24 || at % kPage > kPage - 32) continue;
        const auto size = static_cast<std::uint32_t>((content.size() - at) / kPage * (kPage - 24));
        std::string head = record_of(1, 0x00, 701, std::string(300, 'x')).substr(0, 29);
        head.replace(0, 4, raw(size));
        head.replace(25, 4, raw(size - 29));
        content.replace(at, head.size(), head);
    }
    const auto begin = std::chrono::steady_clock::now();
    const TargetInWal found = find_target_in_wal(io::bytes(content), {700, "", {}});
    EXPECT_TRUE(found.found);
    EXPECT_TRUE(found.uncertain);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST(WalTargets, RestorePointsAreFoundByTheirWholeName) {
    const std::string longest(63, 'n');
    std::string content = four_pages();
    put(content, 40, restore_point("before"));
    put(content, kPage - 40, restore_point(longest));
    EXPECT_TRUE(find_target_in_wal(io::bytes(content), {{}, "before", {}}).found);
    EXPECT_TRUE(find_target_in_wal(io::bytes(content), {{}, longest, {}}).found);
    for (const char* name : {"befor", "before2", "Before", "n"})
        EXPECT_FALSE(find_target_in_wal(io::bytes(content), {{}, name, {}}).found) << name;
}

// A server that has not come to the end of the backup refuses to stop.
TEST(WalTargets, WhatLiesBeforeTheEndOfTheBackupDoesNotCount) {
    std::string content = four_pages();
    put(content, 40, end_of(700, kEpochUs + 5000));
    EXPECT_TRUE(find_target_in_wal(io::bytes(content), {700, "", Lsn{kStart + 40}}).found);
    EXPECT_FALSE(find_target_in_wal(io::bytes(content), {700, "", Lsn{kStart + 48}}).found);
}

// What cannot be seen whole is not denied.
TEST(WalTargets, WhatGoesOnElsewhereIsUncertain) {
    for (std::size_t before = 8; before < 96; before += 8) {
        std::string content = four_pages();
        const std::size_t page = content.size() - kPage;
        put(content, page + 24, record_of(10, 0, 0, std::string(kPage - 24 - before - 29, 'x')));
        put(content, content.size() - before, restore_point("edge"));
        const TargetInWal found = find_target_in_wal(io::bytes(content), {{}, "edge", {}});
        EXPECT_FALSE(found.found);
        EXPECT_TRUE(found.uncertain) << before;
    }
    std::string content = four_pages();
    put(content, 40, end_of(700, kEpochUs + 5000, 0x30));
    EXPECT_TRUE(find_target_in_wal(io::bytes(content), {701, "", {}}).uncertain);
}

// Whose end it is stands behind whatever else the record tells.
TEST(WalTargets, APreparedTransactionEndsUnderItsOwnNumber) {
    constexpr unsigned kHasInfo = 0x80;
    const auto end_with = [](unsigned operation, std::uint32_t has, const std::string& between) {
        return record_of(1, operation | kHasInfo, 0,
                         raw(std::int64_t{5000}) + raw(has) + between + raw(700u) + "gid");
    };
    const auto list = [](std::uint32_t count, std::size_t size) {
        return raw(count) + std::string(count * size, 'x');
    };
    for (const std::string& record :
         {end_with(0x30, 0x10, ""), end_with(0x40, 0x10, ""), end_with(0x30, 0x11, "12345678"),
          end_with(0x30, 0x9F, "12345678" + list(3, 4) + list(2, 12) + list(5, 16)),
          end_with(0x40, 0x16, list(1, 4) + list(0, 12))}) {
        std::string content = four_pages();
        put(content, 40, record);
        EXPECT_TRUE(find_target_in_wal(io::bytes(content), {700, "", {}}).found);
        const TargetInWal other = find_target_in_wal(io::bytes(content), {701, "", {}});
        EXPECT_FALSE(other.found || other.uncertain);
    }
    for (const std::string& record :
         {end_with(0x30, 0x110, list(1, 12)), end_with(0x30, 0x12, raw(4000000000u))}) {
        std::string content = four_pages();
        put(content, 40, record);
        EXPECT_TRUE(find_target_in_wal(io::bytes(content), {701, "", {}}).uncertain);
    }
}

TEST(WalTargets, DamageAndOtherRecordsSayNothing) {
    const std::string good = end_of(700, kEpochUs + 5000);
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 0x01);
        std::string content = four_pages();
        put(content, 40, bad);
        EXPECT_FALSE(find_target_in_wal(io::bytes(content), {700, "", {}}).found) << i;
    }
    EXPECT_FALSE(find_target_in_wal({}, {700, "", {}}).found);
    EXPECT_FALSE(find_target_in_wal(io::bytes("short"), {700, "", {}}).uncertain);
}

}  // namespace
}  // namespace chronos::pgdata
