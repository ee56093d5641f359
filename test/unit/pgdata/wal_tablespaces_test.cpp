// What creates a tablespace is found wherever its record lies, and judged by whose files are there.
#include "chronos/pgdata/wal_tablespaces.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "chronos/pgdata/recovery_state.h"
#include "chronos/pgdata/wal_extent.h"
#include "temporary_directory.h"
#include "wal_sample.h"

namespace chronos::pgdata {
namespace {

using Depth = WalReader::Depth;

constexpr std::uint8_t kManager = 5;

std::string data_of(std::uint32_t oid, const std::string& location) {
    const std::string body = raw(oid) + location + '\0';
    return body.size() < 256
               ? std::string("\xff", 1) + static_cast<char>(body.size()) + body
               : std::string("\xfe", 1) + raw(static_cast<std::uint32_t>(body.size())) + body;
}

WalExtent read_extent(Wal& wal, Depth depth) {
    return wal_extent(io::bytes(wal.content()), depth, 1);
}

TEST(WalTablespaces, AreFoundAtEachPlaceOfAPage) {
    for (const std::string& location : {std::string("/s"), "/" + std::string(700, 'x')})
        for (const Depth depth : {Depth::pages, Depth::records})
            for (std::size_t shift = 0; shift < 1000; shift += 8) {
                Wal wal;
                wal.record(2 * kPage - 900 + shift);
                wal.record_of(data_of(16400 + shift, location), kManager, 0x00);
                const std::size_t begin = wal.last();
                wal.record_of(data_of(1, location), kManager, 0x10);  // DROP TABLESPACE
                wal.record_of(data_of(2, location), kManager + 1, 0x00);
                wal.record(100);
                const TablespaceCreation expected{Lsn{kWalBegin + begin}, Lsn{kWalBegin},
                                                  static_cast<std::uint32_t>(16400 + shift),
                                                  location};
                EXPECT_EQ(read_extent(wal, depth).tablespaces, std::vector{expected}) << shift;
            }
}

TEST(WalTablespaces, AreFoundWhereverTheirSegmentEnds) {
    const std::string location = "/" + std::string(300, 'x');
    Wal alone;
    alone.record_of(data_of(7, location), kManager, 0x00);
    const std::size_t size = alone.at() - 40;
    std::string record = alone.content().substr(40, 24 + data_of(7, location).size());
    for (std::size_t here = 8; here + 8 < size; here += 8) {
        Wal before;
        before.fill(kWalSize - 3 * kPage);
        while (before.at() < kWalSize - 4000) before.record(64);
        before.record(kWalSize - here - before.at());
        ASSERT_EQ(before.at(), kWalSize - here);
        before.append_record(record);
        Wal next;
        next.begin_with(record.substr(here));
        next.record(100);
        for (const Depth depth : {Depth::pages, Depth::records}) {
            const WalExtent first = read_extent(before, depth);
            EXPECT_TRUE(first.tablespaces.empty());
            const auto created = tablespace_across(first, read_extent(next, depth));
            ASSERT_TRUE(created) << here;
            EXPECT_EQ(created->oid, 7u);
            EXPECT_EQ(created->location, location);
            EXPECT_EQ(created->begin, Lsn{kWalBegin + kWalSize - here});
        }
    }
}

TEST(WalTablespaces, WhatIsDamagedIsNone) {
    Wal wal;
    wal.record_of(data_of(7, "/somewhere"), kManager, 0x00);
    for (std::size_t i = 0; i < 40; ++i) {
        std::string record = wal.content().substr(40, 24 + data_of(7, "/somewhere").size());
        ASSERT_TRUE(parse_tablespace_creation(io::bytes(record), Lsn{8}));
        record[i % record.size()] = static_cast<char>(record[i % record.size()] ^ 1);
        EXPECT_FALSE(parse_tablespace_creation(io::bytes(record), Lsn{8})) << i;
        EXPECT_FALSE(parse_tablespace_creation(io::bytes(record.substr(0, i)), Lsn{8}));
    }
}

class TablespaceAt : public testing::Test {
protected:
    std::string make(const std::string& name) const {
        std::filesystem::create_directories(directory_.path() + "/" + name);
        return directory_.path() + "/" + name;
    }
    test::TemporaryDirectory directory_;
};

TEST_F(TablespaceAt, IsInTheWayIfItIsThereAndNotTheOwnOne) {
    const std::string location = make("space");
    const std::string own = make("own");
    make("own/pg_tblspc");
    const TablespaceCreation creation{Lsn{8}, Lsn{}, 16400, location};
    EXPECT_EQ(in_the_way_of(creation, "PG_15_1", own), "") << "nothing is there";
    make("space/PG_14_1");
    EXPECT_EQ(in_the_way_of(creation, "PG_15_1", own), "") << "of another version";
    const std::string place = make("space/PG_15_1");
    EXPECT_EQ(in_the_way_of(creation, "PG_15_1", own), place);
    std::filesystem::create_directory_symlink(make("elsewhere"), own + "/pg_tblspc/16400");
    EXPECT_EQ(in_the_way_of(creation, "PG_15_1", own), place) << "it has it elsewhere";
    std::filesystem::create_directory_symlink(location, own + "/pg_tblspc/16401");
    EXPECT_EQ(in_the_way_of(creation, "PG_15_1", own), place) << "under another number";
    std::filesystem::remove(own + "/pg_tblspc/16400");
    std::filesystem::create_directory_symlink(location, own + "/pg_tblspc/16400");
    EXPECT_EQ(in_the_way_of(creation, "PG_15_1", own), "") << "its own";
    EXPECT_EQ(in_the_way_of(creation, "PG_15_1", ""), place);
    EXPECT_EQ(in_the_way_of({Lsn{8}, Lsn{}, 16400, ""}, "PG_15_1", own), "") << "in place";
}

TEST(RecoveryTargetIn, EndsBeforeWhatStandsBehindIt) {
    // A commit at a known time, and a restore point, in front of a position.
    Wal wal;
    const std::int64_t time_us = kEpochUs + 1'000'000;
    wal.record_of(std::string("\xff\x08", 2) + raw(time_us - kEpochUs), 1, 0x00);
    const Lsn commit{kWalBegin + wal.last()};
    wal.record(100);
    const Lsn last{kWalBegin + wal.last()};
    const Lsn end{kWalBegin + wal.at()};
    const io::Bytes content = io::bytes(wal.content());
    const auto ends = [&](const RecoveryTarget& target) {
        return target.ends_before(content, end, last);
    };
    RecoveryTarget target;
    EXPECT_FALSE(ends(target)) << "none that is known";
    target.time_us = time_us - 1;
    EXPECT_TRUE(ends(target));
    target.time_us = time_us;
    EXPECT_FALSE(ends(target));
    target.inclusive = false;
    EXPECT_TRUE(ends(target));
    target.time_us = time_us + 1;
    EXPECT_FALSE(ends(target));
    target = {};
    target.in_wal.xid = 7;
    EXPECT_TRUE(ends(target));
    target.in_wal.xid = 8;
    EXPECT_FALSE(ends(target));
    target = {};
    target.lsn = last;
    EXPECT_TRUE(ends(target));
    target.lsn = Lsn{last.value + 1};
    EXPECT_FALSE(ends(target)) << "the record at the position is replayed";
    target.inclusive = false;
    EXPECT_TRUE(ends(target));
    target.lsn = Lsn{end.value + 1};
    EXPECT_FALSE(ends(target));
    EXPECT_LT(commit, last);
}

TEST_F(TablespaceAt, TargetsAreThoseOfTheSettings) {
    const auto state = [&](const std::string& settings) {
        std::ofstream(directory_.path() + "/recovery.signal");
        std::ofstream(directory_.path() + "/postgresql.auto.conf") << settings;
        return read_recovery_state(directory_.path());
    };
    EXPECT_EQ(state("recovery_target_time = '2000-01-01 00:00:01+00'").end.time_us,
              kEpochUs + 1'000'000);
    EXPECT_EQ(state("recovery_target_time = '2000-01-01 02:00:01.5+02:00'").end.time_us,
              kEpochUs + 1'500'000);
    EXPECT_FALSE(state("recovery_target_time = '2000-01-01 00:00:01'").end.time_us)
        << "in the zone of the server, which is not known here";
    EXPECT_EQ(state("recovery_target_lsn = '0/10'").end.lsn, Lsn{16});
    EXPECT_EQ(state("recovery_target_xid = '4294967303'").end.in_wal.xid, 7u);
    EXPECT_FALSE(
        state("recovery_target_name = 'a'\nrecovery_target_inclusive = off").end.inclusive);
}

TEST_F(TablespaceAt, ReplayBeginsWhereTheBackupDidOrAtTheCheckpoint) {
    ControlFile control;
    control.redo = Lsn{0x3000028};
    EXPECT_EQ(replay_begin(directory_.path(), control), control.redo);
    std::ofstream(directory_.path() + "/backup_label")
        << "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n";
    EXPECT_EQ(replay_begin(directory_.path(), control), Lsn{0x2000028});
    std::ofstream(directory_.path() + "/backup_label") << "START WAL LOCATION: \n";
    EXPECT_EQ(replay_begin(directory_.path(), control), Lsn{}) << "then all of it";
}

}  // namespace
}  // namespace chronos::pgdata
