// A segment is good as far as a server would replay it: what may stand behind that, and what may
// not, is told apart, however the content comes in.
#include "chronos/pgdata/wal_extent.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_commits.h"
#include "wal_sample.h"

namespace chronos::pgdata {
namespace {

using Depth = WalReader::Depth;

Lsn at(std::size_t offset) {
    return Lsn{kWalBegin + offset};
}

WalExtent extent_of(Wal& wal, Depth depth = Depth::records, Timeline timeline = 1,
                    std::optional<Lsn> begins = std::nullopt) {
    const WalExtent whole = wal_extent(io::bytes(wal.content()), depth, timeline, begins);
    for (const std::size_t chunk : {std::size_t{100}, std::size_t{8193}, std::size_t{65536}}) {
        WalReader reader(depth, timeline, begins);
        for (std::size_t from = 0; from < kWalSize; from += chunk)
            EXPECT_TRUE(
                reader.write(io::bytes(std::string_view(wal.content()).substr(from, chunk))));
        EXPECT_EQ(reader.extent().end, whole.end);
        EXPECT_EQ(reader.extent().whole, whole.whole);
        EXPECT_EQ(reader.extent().flaw, whole.flaw);
    }
    return whole;
}

TEST(WalExtent, FullSegmentsAndThoseThatWereSwitchedAwayFromAreWhole) {
    for (const Depth depth : {Depth::pages, Depth::records}) {
        Wal full;
        full.fill(kWalSize);
        EXPECT_TRUE(extent_of(full, depth).whole);
        EXPECT_EQ(extent_of(full, depth).end, at(kWalSize));
        // The record of the switch at each place of a page, also across its end.
        for (std::size_t shift = 0; shift < 96; shift += 8) {
            Wal left;
            left.record(2 * kPage - 200 + shift);
            left.record(24);
            left.switch_away();
            const WalExtent extent = extent_of(left, depth);
            EXPECT_TRUE(extent.whole) << shift;
            EXPECT_EQ(extent.flaw, "");
            EXPECT_EQ(extent.end, at(left.at()));
        }
    }
}

TEST(WalExtent, EndsWithTheLastRecordBeforeZerosAndOldPages) {
    Wal wal;
    wal.fill(5 * kPage + 100);
    const std::size_t end = wal.at();
    for (const bool recycled : {false, true}) {
        if (recycled) wal.recycle((end / kPage + 1) * kPage);
        const WalExtent extent = extent_of(wal);
        EXPECT_FALSE(extent.whole);
        EXPECT_EQ(extent.end, at(end));
        EXPECT_EQ(extent.last, at(wal.last()));
        EXPECT_EQ(extent.flaw, "");
        EXPECT_FALSE(extent_of(wal, Depth::pages).whole);
        EXPECT_EQ(extent_of(wal, Depth::pages).flaw, "");
    }
}

TEST(WalExtent, APageWithinThatIsNoneIsAFlaw) {
    for (const Depth depth : {Depth::pages, Depth::records}) {
        Wal wal;
        wal.fill(kWalSize);
        Wal zeroed = wal;
        zeroed.content().replace(40 * kPage, kPage, std::string(kPage, '\0'));
        EXPECT_NE(extent_of(zeroed, depth).flaw, "");
        Wal old = wal;
        old.content().replace(40 * kPage + 8, 8, raw(std::uint64_t{2} * kWalSize + 40 * kPage));
        EXPECT_NE(extent_of(old, depth).flaw, "");
        Wal garbage = wal;
        garbage.content().replace(40 * kPage, kWalSize - 40 * kPage,
                                  std::string(kWalSize - 40 * kPage, 'g'));
        EXPECT_NE(extent_of(garbage, depth).flaw, "");
        Wal last = wal;
        last.content().replace(kWalSize - kPage, kPage, std::string(kPage, 'g'));
        EXPECT_NE(extent_of(last, depth).flaw, "");
        // From one on those of another segment: that may be its end, and is not whole.
        Wal other = wal;
        other.recycle(40 * kPage);
        EXPECT_FALSE(extent_of(other, depth).whole);
        EXPECT_EQ(extent_of(other, depth).flaw, "");
    }
}

TEST(WalExtent, AChangedByteOfARecordIsAFlawForWhoReadsRecords) {
    Wal wal;
    wal.fill(kWalSize);
    wal.content()[50 * kPage + 4000] = 'x';
    EXPECT_NE(extent_of(wal).flaw, "");
    EXPECT_LE(extent_of(wal).end, at(50 * kPage + 4000));
    EXPECT_TRUE(extent_of(wal, Depth::pages).whole);
}

TEST(WalExtent, TimelinesGoUpInASegmentAndItsOwnBeginsWhereItsHistorySays) {
    Wal wal(1);
    wal.fill(10 * kPage + 100);
    const Lsn fork = at(wal.at());
    wal.timeline(2);
    wal.fill(kWalSize);
    EXPECT_TRUE(extent_of(wal, Depth::records, 2).whole);
    EXPECT_TRUE(extent_of(wal, Depth::records, 2, fork).whole);
    // The parent's own segment, under the name of the child.
    Wal parent(1);
    parent.fill(kWalSize);
    EXPECT_TRUE(extent_of(parent, Depth::records, 2).whole);
    EXPECT_FALSE(extent_of(parent, Depth::records, 2, fork).whole);
    // What was recycled at a promotion has the right positions, of the timeline that was left.
    Wal recycled(2);
    recycled.fill(10 * kPage + 100);
    recycled.recycle((recycled.at() / kPage + 1) * kPage, kWalBegin / kWalSize);
    EXPECT_EQ(extent_of(recycled, Depth::records, 2).flaw, "");
    EXPECT_EQ(extent_of(recycled, Depth::records, 2).end, at(recycled.at()));
    // Down again they never go, and never above that of the name.
    EXPECT_FALSE(extent_of(wal, Depth::records, 1).whole);
}

TEST(WalExtent, ARecordThatACrashCutOffIsWrittenOver) {
    Wal after;
    after.record(3 * kPage);
    const std::size_t page = 2 * kPage;
    // From there on the server went on without it.
    std::string& content = after.content();
    content.replace(page, kWalSize - page, std::string(kWalSize - page, '\0'));
    const std::string record = raw(std::uint32_t{24}) + raw(std::uint32_t{0}) + raw(kWalBegin) +
                               '\xD0' + std::string(3, '\0');
    content.replace(page, 24,
                    raw(std::uint16_t{0xD110}) + raw(std::uint16_t{8}) + raw(std::uint32_t{1}) +
                        raw(kWalBegin + page) + std::string(8, '\0'));
    content.replace(page + 24, 24, record + raw(crc32c(io::bytes(record))));
    EXPECT_EQ(extent_of(after).end, at(page + 48));
    EXPECT_EQ(extent_of(after).flaw, "");
    // Without saying so it is the end, with WAL behind it.
    content[page + 2] = 0;
    EXPECT_EQ(extent_of(after).end, at(40));
    EXPECT_NE(extent_of(after).flaw, "");
}

// A segment of which the first record says that it comes behind `before`.
WalExtent behind(Lsn before, bool gives_up = false) {
    Wal next;
    next.fill(kWalSize);
    std::string& content = next.content();
    content.replace(40 + 8, 8, raw(before.value));
    if (gives_up) content[2] = static_cast<char>(content[2] | 8);
    return wal_extent(io::bytes(content), Depth::pages, 1);
}

TEST(WalExtent, NextSegmentFollowsIfItsFirstRecordSaysSo) {
    for (const bool switched : {false, true}) {
        Wal wal;
        wal.fill(switched ? kWalSize / 2 : kWalSize);
        if (switched) wal.switch_away();
        for (const Depth depth : {Depth::pages, Depth::records}) {
            const Lsn last = extent_of(wal, depth).last_begun;
            EXPECT_EQ(last, at(wal.last()));
            EXPECT_EQ(last_begun(io::bytes(wal.content()), at(0)), last);
            EXPECT_EQ(joint_flaw(last, behind(last)), "");
            EXPECT_NE(joint_flaw(last, behind(Lsn{})), "") << "pg_resetwal";
            EXPECT_NE(joint_flaw(last, behind(Lsn{last.value - 8})), "");
            EXPECT_EQ(joint_flaw(last, behind(Lsn{}, true)), "") << "a record was given up";
        }
    }
    EXPECT_EQ(joint_flaw(Lsn{}, behind(Lsn{})), "") << "not known";
}

// One record may begin far before, and go on through a whole segment.
TEST(WalExtent, WhereNoRecordBeginsNothingIsSaidOfTheNextSegment) {
    Wal wal;
    wal.record(2 * kWalSize);
    EXPECT_EQ(extent_of(wal).last_begun, at(40));
    std::string content = wal.content();
    content[2] = static_cast<char>(content[2] | 1);
    content.replace(16, 4, raw(std::uint32_t{3 * kWalSize}));
    const WalExtent through = wal_extent(io::bytes(content), Depth::pages, 1);
    EXPECT_TRUE(through.whole);
    EXPECT_EQ(through.last_begun, Lsn{});
    EXPECT_EQ(joint_flaw(at(40), through), "");
}

TEST(WalExtent, WhatHasNoPagesThatAreKnownIsNotJudged) {
    std::string other(kWalSize, 'x');
    EXPECT_TRUE(wal_extent(io::bytes(other), Depth::records, 1).whole);
    Wal wal;
    wal.content().replace(36, 4, raw(std::uint32_t{16384}));
    EXPECT_TRUE(extent_of(wal).whole);
    EXPECT_TRUE(wal_extent({}, Depth::records, 1).whole);
}

TEST(WalExtent, ASegmentOfOtherPagesEndsWhereItEnds) {
    Wal wal;
    wal.fill(kWalSize);
    wal.content().replace(36, 4, raw(std::uint32_t{16384}));
    EXPECT_TRUE(extent_of(wal).whole);
    EXPECT_EQ(extent_of(wal).end, Lsn{kWalBegin + kWalSize})
        << "it is not judged, but its place is known";
}

}  // namespace
}  // namespace chronos::pgdata
