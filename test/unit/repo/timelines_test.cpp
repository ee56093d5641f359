#include "chronos/repo/timelines.h"

#include <gmock/gmock.h>

#include "chronos/repo/wal_archive.h"
#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

using testing::ElementsAre;

constexpr std::uint32_t kSegmentSize = 16u << 20;

class TimelinesTest : public testing::Test {
protected:
    TimelinesTest() { repository_.storage = std::make_shared<test::MemoryStorage>(); }

    void put(Timeline timeline, const std::string& text) {
        ASSERT_OK(write_text(
            repository_,
            archived_file_object("main", "15-1", pgdata::timeline_history_name(timeline)), text,
            ""));
    }
    void put_segment(Timeline timeline) {
        const std::string name = pgdata::wal_segment_name(timeline, Lsn{0x3000000}, kSegmentSize);
        ASSERT_OK(write_text(
            repository_,
            "archive/main/15-1/" + name.substr(0, 16) + "/" + name + "-" + std::string(40, '0'), "",
            ""));
    }
    std::vector<std::string> lost() {
        std::vector<std::string> objects;
        const auto found = find_lost_histories(repository_, "main", "15-1", "");
        EXPECT_OK(found);
        for (const LostHistory& one : *found) objects.push_back(one.object);
        return objects;
    }
    Timelines load() {
        auto timelines = load_timelines(repository_, "main", "15-1", "");
        EXPECT_OK(timelines);
        return *timelines;
    }

    Repository repository_;
};

TEST_F(TimelinesTest, LostHistoryIsKnownFromALaterOneAndCanBePutBack) {
    put(3, "1\t0/3000000\tone\n\n2\t0/5000000\ttwo\n");
    const Timelines timelines = load();
    const Timelines::Way* way = timelines.way_to(2);
    ASSERT_NE(way, nullptr);
    EXPECT_EQ(way->told_by, 3u);
    EXPECT_THAT(way->switches, ElementsAre(pgdata::TimelineSwitch{1, Lsn{0x3000000}}));
    EXPECT_EQ(timelines.segments_known(1, kSegmentSize), 3u);
    EXPECT_EQ(timelines.segments_known(3, kSegmentSize), 0u);
    EXPECT_THAT(lost(), ElementsAre()) << "older than any WAL: removed with it";
    put_segment(2);
    const auto found = find_lost_histories(repository_, "main", "15-1", "");
    ASSERT_OK(found);
    ASSERT_EQ(found->size(), 1u);
    EXPECT_EQ(found->front().object, "archive/main/15-1/00000002.history");
    ASSERT_OK(mend_history(repository_, found->front(), ""));
    EXPECT_EQ(load().way_to(2)->told_by, 0u);
    EXPECT_THAT(lost(), ElementsAre());
    EXPECT_EQ(load().way_to(2)->switches, way->switches);
}

TEST_F(TimelinesTest, BackupTellsOfItsWalAndNothingOfWhatIsBehindIt) {
    Timelines timelines;
    BackupEntry backup;
    timelines.add_backup(backup);
    EXPECT_EQ(timelines.segments_known(1, kSegmentSize), 0u) << "it was made offline";
    backup.archive_stop = "000000010000000100000002";
    timelines.add_backup(backup);
    backup.archive_stop = "000000010000000000000003";
    timelines.add_backup(backup);
    EXPECT_EQ(timelines.segments_known(1, kSegmentSize), 0x103u);
    EXPECT_EQ(timelines.segments_known(2, kSegmentSize), 0u);
}

TEST_F(TimelinesTest, HistoriesThatDisagreeAreNamedAndNothingIsMended) {
    put(2, "1\t0/4000000\tthe dead branch\n");
    put(4, "1\t0/3000000\tone\n2\t0/5000000\ttwo\n3\t0/6000000\tthree\n");
    EXPECT_EQ(load().contradictions.size(), 1u);
    EXPECT_EQ(load().way_to(2)->told_by, 0u);
    put_segment(1);
    const auto found = find_lost_histories(repository_, "main", "15-1", "");
    ASSERT_OK(found);
    ASSERT_EQ(found->size(), 1u);
    EXPECT_NE(found->front().doubt, "");
    EXPECT_FALSE(mend_history(repository_, found->front(), ""));
    EXPECT_THAT(lost(), ElementsAre("archive/main/15-1/00000003.history"));
}

TEST_F(TimelinesTest, WalWithoutAnyHistoryIsFoundButNotMended) {
    put_segment(1);
    EXPECT_THAT(lost(), ElementsAre());
    put_segment(2);
    const auto found = find_lost_histories(repository_, "main", "15-1", "");
    ASSERT_OK(found);
    ASSERT_EQ(found->size(), 1u);
    EXPECT_EQ(found->front().way.told_by, 0u);
    EXPECT_FALSE(mend_history(repository_, found->front(), ""));
}

TEST_F(TimelinesTest, DamagedHistoryIsMendedFromALaterOne) {
    put_segment(1);
    put(2, "rubbish");
    put(3, "1\t0/3000000\tone\n2\t0/5000000\ttwo\n");
    const auto found = find_lost_histories(repository_, "main", "15-1", "");
    ASSERT_OK(found);
    ASSERT_EQ(found->size(), 1u);
    EXPECT_TRUE(found->front().damaged);
    ASSERT_OK(mend_history(repository_, found->front(), ""));
    EXPECT_THAT(load().damaged, testing::IsEmpty());
}

TEST_F(TimelinesTest, WhatIsNoHistoryIsDamaged) {
    put(2, "rubbish");
    put(3, "3\t0/3000000\tits own parent\n");
    put(4, "");
    const Timelines timelines = load();
    EXPECT_EQ(timelines.damaged.size(), 3u);
    EXPECT_EQ(timelines.newest(), 0u);
}

}  // namespace
}  // namespace chronos::repo
