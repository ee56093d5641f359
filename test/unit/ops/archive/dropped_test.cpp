#include "chronos/ops/archive/dropped.h"

#include <gmock/gmock.h>

#include "archive_fixture.h"

namespace chronos::ops::archive {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Dropped : public ArchiveTest {
protected:
    void SetUp() override {
        ArchiveTest::SetUp();
        add_repository();
    }
    DropSettings settings(std::optional<std::uint64_t> queue_max = 2 * kSegmentSize) const {
        return {queue_max, directory_ / "spool", kStanza, pg_path()};
    }
    void make_ready(unsigned number) {
        write_file(wal_path(segment(number)), make_segment(number));
        write_file(wal_path("archive_status/" + segment(number) + ".ready"), "");
    }
    Result<> drop(unsigned number) {
        make_ready(number);
        return DroppedWal(settings()).drop(segment(number), wal_path(segment(number)));
    }
    void report() {
        ArchivePusher pusher(push_settings());
        DroppedWal(settings()).report({&pusher});
    }
    std::vector<std::pair<std::string, std::string>> gaps() {
        std::vector<std::pair<std::string, std::string>> found;
        const auto listed = repo::list_gaps(repositories_[0], kStanza, "15-1", "");
        for (const repo::WalGap& gap : *listed) found.emplace_back(gap.first, gap.last);
        return found;
    }
    std::string record() const { return directory_ / "spool/chronos/main/dropped/segments"; }
};

TEST_F(Dropped, OnlyMoreThanTheLimitIsTooMuchAndWithoutALimitNothingIs) {
    for (unsigned number : {3, 4}) make_ready(number);
    EXPECT_FALSE(*DroppedWal(settings()).queue_exceeded(wal_path(segment(3))));
    make_ready(5);
    EXPECT_TRUE(*DroppedWal(settings()).queue_exceeded(wal_path(segment(3))));
    EXPECT_TRUE(*DroppedWal(settings(0)).queue_exceeded(wal_path(segment(3))));
    EXPECT_FALSE(*DroppedWal(settings(std::nullopt)).queue_exceeded(wal_path(segment(3))));
}

TEST_F(Dropped, GapReachesTheRepositoryWhenThatIsBackAndSurvivesTheProcess) {
    ASSERT_OK(push(segment(2), make_segment(2)));
    mount(1).away = true;
    for (unsigned number : {3, 4, 7}) ASSERT_OK(drop(number));
    report();
    mount(1).away = false;
    EXPECT_THAT(gaps(), IsEmpty());
    report();
    EXPECT_THAT(gaps(),
                ElementsAre(std::pair(segment(3), segment(4)), std::pair(segment(7), segment(7))));
    EXPECT_EQ(read_file(record()), "");
}

TEST_F(Dropped, LineCutOffByACrashDoesNotHideTheOthers) {
    ASSERT_OK(push(segment(2), make_segment(2)));
    ASSERT_OK(drop(3));
    write_file(record(), read_file(record()) + "1795161465 77101");
    report();
    EXPECT_THAT(gaps(), ElementsAre(std::pair(segment(3), segment(3))));
}

TEST_F(Dropped, NothingIsDroppedThatCannotBeRecorded) {
    write_file(directory_ / "spool/chronos/main/dropped", "a file in the place of the directory");
    EXPECT_FALSE(drop(3));
}

TEST_F(Dropped, HistoryIsKeptAndStoredLater) {
    ASSERT_OK(push(segment(2), make_segment(2)));
    const std::string name = "00000002.history";
    write_file(wal_path(name), "1\t0/3000000\tno recovery target\n");
    ASSERT_OK(DroppedWal(settings()).drop(name, wal_path(name)));
    std::filesystem::remove(wal_path(name));
    report();
    EXPECT_EQ(read_file(stored_path(1, name)), "1\t0/3000000\tno recovery target\n");
    EXPECT_FALSE(std::filesystem::exists(directory_ / ("spool/chronos/main/dropped/" + name)));
}

TEST_F(Dropped, WhatOneOfSeveralGoesWithoutIsRecordedThereAlone) {
    const auto of_repository = [&](unsigned key) {
        DropSettings one = settings();
        one.repo_key = key;
        return one;
    };
    make_ready(7);
    ArchivePusher pusher(push_settings());
    ASSERT_OK(DroppedWal(of_repository(2)).drop(segment(7), wal_path(segment(7))));
    DroppedWal(settings()).report({&pusher});
    DroppedWal(of_repository(1)).report({&pusher});
    EXPECT_THAT(gaps(), IsEmpty());
    DroppedWal(of_repository(2)).report({&pusher});
    EXPECT_THAT(gaps(), ElementsAre(std::pair(segment(7), segment(7))));
}

}  // namespace
}  // namespace chronos::ops::archive
