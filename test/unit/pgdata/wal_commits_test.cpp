#include "chronos/pgdata/wal_commits.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>

#include "wal_builder.h"
#include "wal_sample.h"

namespace chronos::pgdata {
namespace {

using test::WalBuilder;

TEST(LastCommit, IsTheLastOfManyWhereverItsRecordCrossesAPage) {
    // Each filler shifts what follows by one alignment: a record is cut at each possible place.
    for (std::size_t shift = 0; shift < 96; shift += 8) {
        SCOPED_TRACE(shift);
        WalBuilder wal(16 * kPage);
        wal.commit(1);
        wal.filler(kPage - 200 - wal.at() + shift);
        const Lsn end = wal.commit(2000000);
        wal.filler(3 * kPage);
        const auto found = last_commit(wal.bytes(), Lsn{kStart});
        ASSERT_TRUE(found);
        EXPECT_EQ(found->time_us, kEpochUs + 2000000);
        EXPECT_EQ(found->end.str(), end.str());
    }
}

TEST(LastCommit, IsFoundFarBeforeTheEndAndBeforeAnEmptyRest) {
    WalBuilder wal(256 * kPage);
    wal.filler(5 * kPage);
    wal.commit(7);
    wal.filler(100 * kPage);  // and pages that were never written behind it
    ASSERT_TRUE(last_commit(wal.bytes(), Lsn{kStart}));
    EXPECT_EQ(last_commit(wal.bytes(), Lsn{kStart})->time_us, kEpochUs + 7);
}

TEST(LastCommit, KnowsOriginsAndSubtransactionsAndPreparedOnes) {
    for (const std::string& before :
         {std::string("\xfd\x01\x00", 3), std::string("\xfc\x01\x00\x00\x00", 5),
          std::string("\xfd\x01\x00\xfc\x01\x00\x00\x00", 8)}) {
        WalBuilder wal(4 * kPage);
        wal.commit(9, before);
        ASSERT_TRUE(last_commit(wal.bytes(), Lsn{kStart}));
        EXPECT_EQ(last_commit(wal.bytes(), Lsn{kStart})->time_us, kEpochUs + 9);
    }
    WalBuilder wal(4 * kPage);
    const std::int64_t time = 11;
    std::string data = "\xff\x20";
    data.append(reinterpret_cast<const char*>(&time), 8);
    wal.record(1, 0x30, data);
    EXPECT_EQ(last_commit(wal.bytes(), Lsn{kStart})->time_us, kEpochUs + 11);
}

// Wherever the cut is: in a record, in the head of one, at the end of one.
TEST(LastCommit, BeforeAPositionIsTheLastThatEndsThere) {
    WalBuilder wal(16 * kPage);
    wal.filler(2 * kPage);
    const Lsn first = wal.commit(1);
    wal.filler(kPage);
    const Lsn second = wal.commit(2);
    wal.commit(3);
    for (const std::uint64_t cut : {second.value, second.value + 8, second.value + 40})
        EXPECT_EQ(last_commit_before(wal.bytes(), Lsn{kStart}, Lsn{cut})->time_us, kEpochUs + 2);
    for (const std::uint64_t cut : {first.value, first.value + 4000, second.value - 8})
        EXPECT_EQ(last_commit_before(wal.bytes(), Lsn{kStart}, Lsn{cut})->time_us, kEpochUs + 1);
    EXPECT_FALSE(last_commit_before(wal.bytes(), Lsn{kStart}, Lsn{first.value - 8}));
    EXPECT_FALSE(last_commit_before(wal.bytes(), Lsn{kStart}, Lsn{kStart}));
    EXPECT_FALSE(last_commit_before(wal.bytes(), Lsn{kStart}, Lsn{kStart - 8}));
    EXPECT_FALSE(last_commit_before(wal.bytes(), Lsn{kStart}, Lsn{kStart + 17 * kPage}));
}

TEST(LastCommit, AbortsAndOtherRecordsAreNone) {
    WalBuilder wal(4 * kPage);
    const std::int64_t time = 11;
    std::string data = "\xff\x20";
    data.append(reinterpret_cast<const char*>(&time), 8);
    wal.record(1, 0x20, data);   // abort
    wal.record(10, 0x00, data);  // of another resource manager
    EXPECT_FALSE(last_commit(wal.bytes(), Lsn{kStart}));
}

TEST(LastCommit, CutOffRecordAndGarbageAreNotRead) {
    WalBuilder wal(2 * kPage);
    wal.filler(kPage - 100);
    wal.commit(5);
    EXPECT_FALSE(last_commit(wal.bytes().first(kPage), Lsn{kStart})) << "the rest is not there";
    EXPECT_FALSE(last_commit(wal.bytes(), Lsn{kStart + 2 * kPage})) << "of another position";
    EXPECT_FALSE(last_commit(io::bytes(std::string(3 * kPage, '\xff')), Lsn{kStart}));
    EXPECT_FALSE(last_commit({}, Lsn{kStart}));
    EXPECT_TRUE(last_commit(wal.bytes(), Lsn{kStart}));
}

// A sum with the time of a damaged record is none of ours to overflow.
TEST(LastCommit, WithATimeThatNoClockShowsIsNone) {
    constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
    for (const std::int64_t time : {kMax, kMax - kEpochUs + 1, -kMax - 1, -kEpochUs - 1}) {
        WalBuilder wal(4 * kPage);
        wal.commit(7);
        wal.commit(time);
        const auto found = last_commit(wal.bytes(), Lsn{kStart});
        ASSERT_TRUE(found) << time;
        EXPECT_EQ(found->time_us, kEpochUs + 7) << time;
    }
}

}  // namespace
}  // namespace chronos::pgdata
