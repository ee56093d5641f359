#include "chronos/ops/windows/windows.h"

#include <gmock/gmock.h>

#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/wal_archive.h"
#include "memory_storage.h"
#include "result_matchers.h"
#include "synthetic_stanza.h"
#include "wal_builder.h"

namespace chronos::ops::windows {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kSegment = std::uint64_t{16} << 20;
const std::string kFirst = "20260101-000001F";
const std::string kSecond = "20260102-000001F";

std::string segment(unsigned number, unsigned timeline = 1) {
    return test::SyntheticStanza::segment(number, timeline);
}

class Windows : public testing::TestWithParam<bool> {
protected:
    void add_backup(const std::string& label, unsigned start, unsigned stop) {
        repo::BackupEntry& backup = stanza_.add(label, start, stop, "", 1000);
        backup.lsn_start = Lsn{start * kSegment + 40};
        backup.lsn_stop = Lsn{stop * kSegment + 80};
    }
    void add_segments(unsigned first, unsigned last, unsigned timeline = 1) {
        for (; first <= last; ++first) stanza_.add_segment(segment(first, timeline));
    }
    /// The history of a timeline; parents are left in the middle of segments.
    void add_history(unsigned timeline, std::vector<std::pair<unsigned, unsigned>> way) {
        char name[40];
        std::snprintf(name, sizeof name, "archive/main/15-1/%08X.history", timeline);
        std::string text;
        for (const auto& [parent, in_segment] : way) {
            const Lsn left{in_segment * kSegment + kSegment / 2};
            text += std::to_string(parent) + "\t" + left.str() + "\tno reason\n";
        }
        ASSERT_OK(repo::write_text(stanza_.repository(), name, text, pass()));
    }
    void add_history(unsigned timeline, unsigned parent, unsigned in_segment) {
        add_history(timeline, {{parent, in_segment}});
    }
    void add_piece(unsigned number, std::uint32_t begin, std::uint32_t end, std::int64_t commit) {
        repo::WalPiece piece{segment(number),
                             begin,
                             end,
                             commit,
                             std::string(40, 'a'),
                             compress::CompressType::zst,
                             0};
        stanza_.write(piece.object("main", "15-1"), "x");
    }
    std::string pass() const { return GetParam() ? "archive pass" : ""; }
    Report report() {
        stanza_.save();
        auto looked = look({{stanza_.repository()}, "main"});
        EXPECT_OK(looked);
        return looked ? *looked : Report{};
    }
    /// "label/timeline to <lsn> <end>", a '*' behind what starts after a gap.
    static std::vector<std::string> texts(const Report& report) {
        std::vector<std::string> all;
        for (const Window& window : report.windows)
            all.push_back(window.label.substr(6, 2) + "/" + std::to_string(window.timeline) +
                          " to " + window.to_lsn.str() + " " + std::string(end_name(window.end)) +
                          (window.streamed ? "+" : "") + (window.starts_after_gap ? "*" : ""));
        return all;
    }

    std::shared_ptr<test::MemoryStorage> storage_ = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza stanza_{storage_, GetParam() ? "secret" : ""};
};

TEST_P(Windows, WholeArchiveIsOneRangeAndEveryBackupReachesItsEnd) {
    add_segments(3, 9);
    add_backup(kFirst, 3, 4);
    add_backup(kSecond, 6, 7);
    const Report found = report();
    ASSERT_THAT(found.stored, SizeIs(1));
    EXPECT_EQ(found.stored[0].first, segment(3));
    EXPECT_EQ(found.stored[0].last, segment(9));
    EXPECT_EQ(found.stored[0].count, 7u);
    EXPECT_THAT(found.missing, IsEmpty());
    EXPECT_THAT(texts(found), ElementsAre("01/1 to 0/A000000 newest", "02/1 to 0/A000000 newest"));
}

TEST_P(Windows, GapEndsTheWindowBeforeItAndTheNextBackupBeginsANewOne) {
    add_segments(3, 5);
    add_segments(8, 12);
    add_backup(kFirst, 3, 4);
    add_backup(kSecond, 9, 10);
    add_backup("20260103-000001F", 11, 12);
    ASSERT_OK(repo::save_gap(stanza_.repository(), "main", "15-1",
                             {segment(6), segment(6), 100, 200}, pass()));
    const Report found = report();
    ASSERT_THAT(found.missing, SizeIs(1));
    EXPECT_EQ(found.missing[0].first, segment(6));
    EXPECT_EQ(found.missing[0].last, segment(7));
    EXPECT_TRUE(found.missing[0].dropped);
    EXPECT_EQ(found.missing[0].dropped_until, 200);
    EXPECT_THAT(texts(found), ElementsAre("01/1 to 0/6000000 gap", "02/1 to 0/D000000 newest*",
                                          "03/1 to 0/D000000 newest"));
}

TEST_P(Windows, BackupWhoseOwnWalIsMissingCannotBeUsed) {
    add_segments(3, 3);
    add_segments(5, 6);
    add_backup(kFirst, 3, 4);
    EXPECT_THAT(texts(report()), ElementsAre("01/1 to 0/0 unusable"));
}

TEST_P(Windows, BackupReachesTheTimelinesThatBranchedOffBehindIt) {
    add_segments(3, 8);
    add_segments(6, 9, 2);
    add_history(2, 1, 6);
    add_backup(kFirst, 3, 4);   // before timeline 2 began
    add_backup(kSecond, 7, 8);  // on timeline 1, behind where it was left
    const Report found = report();
    EXPECT_THAT(found.missing, IsEmpty());
    ASSERT_THAT(found.timelines, SizeIs(1));
    EXPECT_EQ(found.timelines[0].parent, 1u);
    EXPECT_THAT(texts(found), ElementsAre("01/1 to 0/9000000 newest", "01/2 to 0/A000000 newest",
                                          "02/1 to 0/9000000 newest"));
}

TEST_P(Windows, WalMissingAtTheStartOfATimelineIsAGap) {
    add_segments(3, 5);
    add_segments(8, 9, 2);
    add_history(2, 1, 6);
    add_backup(kFirst, 3, 4);
    const Report found = report();
    ASSERT_THAT(found.missing, SizeIs(1));
    EXPECT_EQ(found.missing[0].first, segment(6, 2));
    EXPECT_EQ(found.missing[0].last, segment(7, 2));
    EXPECT_THAT(texts(found), ElementsAre("01/1 to 0/6000000 newest"));
}

// That is where a restore to the newest timeline ends, until its first segment is full.
TEST_P(Windows, TimelineWithoutWalOfItsOwnIsReachedUpToTheFork) {
    add_segments(3, 8);
    add_history(2, 1, 6);
    add_backup(kFirst, 3, 4);
    EXPECT_THAT(texts(report()),
                ElementsAre("01/1 to 0/9000000 newest", "01/2 to 0/6800000 newest"));
}

// A recovery to timeline 2 that ended before that began: it never was on its WAL.
TEST_P(Windows, WalThatATimelineWroteWhereTheWayIsNotOnItIsNothingOfTheWay) {
    add_segments(3, 7);
    add_segments(8, 9, 2);
    add_history(2, {{1, 8}});
    add_history(3, {{1, 8}, {2, 6}});
    add_backup(kFirst, 3, 4);
    EXPECT_THAT(texts(report()), ElementsAre("01/1 to 0/8000000 newest", "01/2 to 0/A000000 newest",
                                             "01/3 to 0/6800000 newest"));
}

TEST_P(Windows, TimelineThatAnotherOneLeftFartherOnHasAGapAtItsEnd) {
    add_segments(3, 5);
    add_segments(9, 10, 2);
    add_history(2, 1, 9);
    add_backup(kFirst, 3, 4);
    const Report found = report();
    ASSERT_THAT(found.missing, SizeIs(1));
    EXPECT_EQ(found.missing[0].first, segment(6));
    EXPECT_EQ(found.missing[0].last, segment(8));
    EXPECT_THAT(texts(found), ElementsAre("01/1 to 0/6000000 gap"));
}

TEST_P(Windows, WalThatALaterBackupNeededIsMissingAtTheEnd) {
    add_segments(3, 5);
    add_backup(kFirst, 3, 4);
    add_backup(kSecond, 6, 7);
    const Report found = report();
    ASSERT_THAT(found.missing, SizeIs(1));
    EXPECT_EQ(found.missing[0].first, segment(6));
    EXPECT_EQ(found.missing[0].last, segment(7));
    EXPECT_THAT(texts(found), ElementsAre("01/1 to 0/6000000 gap", "02/1 to 0/0 unusable"));
}

TEST_P(Windows, WalThatABackupOfTheNextTimelineNeededIsMissingBehindTheFork) {
    add_segments(3, 6);
    add_history(2, 1, 6);
    add_backup(kFirst, 3, 4);
    repo::BackupEntry& on_two = stanza_.add(kSecond, 7, 8, "", 1000);
    on_two.archive_start = segment(7, 2);
    on_two.archive_stop = segment(8, 2);
    EXPECT_THAT(texts(report()), testing::Contains("01/1 to 0/7000000 newest"));
    EXPECT_THAT(texts(report()), testing::Not(testing::Contains("01/2 to 0/6800000 newest")));
}

TEST_P(Windows, EndIsTheLastCommitThatIsKnown) {
    add_segments(3, 6);
    add_backup(kFirst, 3, 4);
    ASSERT_OK(repo::save_commit_notes(stanza_.repository(), "main", "15-1",
                                      {{segment(4), 5000000, Lsn{4 * kSegment + 100}},
                                       {segment(5), 6000000, Lsn{5 * kSegment + 100}},
                                       {segment(7), 9000000, Lsn{7 * kSegment + 100}}},
                                      pass()));
    const Report found = report();
    ASSERT_THAT(found.windows, SizeIs(1));
    EXPECT_EQ(found.windows[0].to_us, 6000000);
}

// The note of the segment is of a commit that timeline 2 has left behind; two others are before the
// fork.
TEST_P(Windows, EndAtAForkIsTheLastCommitBeforeIt) {
    add_segments(3, 5);
    add_backup(kFirst, 3, 4);
    add_history(2, 1, 6);
    test::WalBuilder wal(kSegment, 6 * kSegment);
    wal.commit(1000000);
    wal.commit(2000000);
    while (wal.at() < kSegment / 2) wal.filler(1000000);
    const Lsn behind = wal.commit(3000000);
    ASSERT_OK(repo::write_text(
        stanza_.repository(),
        repo::archived_segment_object("main", "15-1", segment(6), std::string(40, 'a'),
                                      compress::CompressType::none),
        wal.content(), pass()));
    constexpr std::int64_t kEpoch = std::int64_t{946684800} * 1000000;  // 2000-01-01
    ASSERT_OK(repo::save_commit_notes(stanza_.repository(), "main", "15-1",
                                      {{segment(5), kEpoch + 500000, Lsn{5 * kSegment + 100}},
                                       {segment(6), kEpoch + 3000000, behind}},
                                      pass()));
    const Report found = report();
    EXPECT_THAT(texts(found), ElementsAre("01/1 to 0/7000000 newest", "01/2 to 0/6800000 newest"));
    EXPECT_EQ(found.windows[0].to_us, kEpoch + 3000000);
    EXPECT_EQ(found.windows[1].to_us, kEpoch + 2000000);
}

TEST_P(Windows, StreamedPiecesGoOnWhereTheSegmentsEndAndNowhereElse) {
    add_segments(3, 5);
    add_backup(kFirst, 3, 4);
    add_piece(6, 0, 100, 7000000);
    add_piece(6, 100, 300, 0);
    add_piece(6, 400, 500, 8000000);  // behind a hole
    add_piece(8, 0, 100, 9000000);    // and not of the next segment
    const Report found = report();
    EXPECT_THAT(texts(found), ElementsAre("01/1 to 0/600012C newest+"));
    EXPECT_EQ(found.windows[0].to_us, 7000000);
}

INSTANTIATE_TEST_SUITE_P(PlainAndEncrypted, Windows, testing::Bool());

TEST(WindowsOfSeveral, RepositoryThatIsAwayIsLeftOutUnlessNoneIsThere) {
    auto storage = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza stanza(storage);
    stanza.add_segments(3, 5);
    stanza.save();
    repo::Repository away;
    away.key = 2;
    away.storage = std::make_shared<test::MemoryStorage>();
    const auto looked = look({{stanza.repository(), away}, "main"});
    ASSERT_OK(looked);
    EXPECT_THAT(looked->stored, SizeIs(1));
    EXPECT_FALSE(look({{away}, "main"}));
}

}  // namespace
}  // namespace chronos::ops::windows
