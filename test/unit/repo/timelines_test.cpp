#include "chronos/repo/timelines.h"

#include <gmock/gmock.h>

#include "chronos/repo/wal_archive.h"
#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

using testing::ElementsAre;

class TimelinesTest : public testing::Test {
protected:
    TimelinesTest() { repository_.storage = std::make_shared<test::MemoryStorage>(); }

    void put(Timeline timeline, const std::string& text) {
        ASSERT_OK(write_text(
            repository_,
            archived_file_object("main", "15-1", pgdata::timeline_history_name(timeline)), text,
            ""));
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
    EXPECT_TRUE(way->derived);
    EXPECT_THAT(way->switches, ElementsAre(pgdata::TimelineSwitch{1, Lsn{0x3000000}}));
    EXPECT_EQ(timelines.last_left(1), Lsn{0x3000000});
    EXPECT_EQ(timelines.last_left(3), std::nullopt);
    for (const bool put_back : {false, true}) {
        const auto lost = mend_histories(repository_, "main", "15-1", "", put_back);
        ASSERT_OK(lost);
        EXPECT_THAT(*lost, ElementsAre("00000002.history"));
        EXPECT_EQ(load().way_to(2)->derived, !put_back);
    }
    EXPECT_EQ(load().way_to(2)->switches, way->switches);
}

TEST_F(TimelinesTest, HistoriesThatDisagreeAreNamedAndNothingIsMended) {
    put(2, "1\t0/4000000\tthe dead branch\n");
    put(4, "1\t0/3000000\tone\n2\t0/5000000\ttwo\n3\t0/6000000\tthree\n");
    EXPECT_EQ(load().contradictions.size(), 1u);
    EXPECT_FALSE(load().way_to(2)->derived);
    EXPECT_THAT(*mend_histories(repository_, "main", "15-1", "", true), ElementsAre());
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
