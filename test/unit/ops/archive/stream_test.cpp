#include "chronos/ops/archive/stream.h"

#include <gmock/gmock.h>

#include "archive_fixture.h"
#include "chronos/repo/side/wal_notes.h"

namespace chronos::ops::archive {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kStart = 3 * std::uint64_t{kSegmentSize};

class Stream : public ArchiveTest, public testing::WithParamInterface<bool> {
protected:
    void SetUp() override {
        ArchiveTest::SetUp();
        add_repository(GetParam());
        // The stanza comes with the first segment.
        ASSERT_OK(push(segment(2), make_segment(2)));
        content_ = make_segment(3);
        for (std::size_t at = 4096; at < content_.size(); at += 4096)
            content_[at] = static_cast<char>(at / 4096 % 251 + 1);
        write_file(wal_path(segment(3)), content_);
    }
    Result<Streamed> ship(std::uint64_t bytes, Timeline timeline = 1) {
        return streamer_.ship(timeline, Lsn{kStart + bytes});
    }
    std::vector<repo::WalPiece> pieces(const std::string& name = segment(3)) {
        const auto listed = repo::list_wal_pieces(repositories_[0], kStanza, "15-1", name);
        return listed ? *listed : std::vector<repo::WalPiece>{};
    }
    Result<GetOutcome> get_streamed(const std::string& name = segment(3)) {
        return get_streamed_wal(get_settings(), name, destination());
    }
    /// What is put together is the first `bytes` and zeros.
    void expect_got(std::uint64_t bytes) {
        const auto outcome = get_streamed();
        ASSERT_OK(outcome);
        ASSERT_EQ(*outcome, GetOutcome::found);
        std::string expected = content_.substr(0, bytes);
        expected.resize(kSegmentSize, '\0');
        EXPECT_TRUE(read_file(destination()) == expected);
    }
    void mark(const std::string& name, const std::string& suffix) {
        for (const char* former : {".ready", ".done"})
            std::filesystem::remove(wal_path("archive_status/" + name + former));
        write_file(wal_path("archive_status/" + name + suffix), "");
    }
    void put_history(unsigned timeline, Lsn left) {
        const auto info = repo::load_archive_info(repositories_[0], kStanza);
        ASSERT_OK(info);
        char name[40];
        std::snprintf(name, sizeof name, "archive/main/15-1/%08X.history", timeline);
        ASSERT_OK(repo::write_text(repositories_[0], name, "1\t" + left.str() + "\tno reason\n",
                                   info->cipher_pass));
    }

    std::string content_;
    std::unique_ptr<WalStreamer> own_;
    WalStreamer& streamer() {
        if (!own_) own_ = std::make_unique<WalStreamer>(push_settings(), pg_path() + "/pg_wal");
        return *own_;
    }
    struct Lazy {
        Stream& test;
        Result<Streamed> ship(Timeline timeline, Lsn lsn) {
            return test.streamer().ship(timeline, lsn);
        }
    } streamer_{*this};
};

TEST_P(Stream, PiecesPutTogetherAreTheSegmentUpToWhereTheyGo) {
    ASSERT_OK(ship(5000));
    expect_got(5000);
    ASSERT_OK(ship(5001));
    ASSERT_OK(ship(3000000));
    EXPECT_EQ(pieces().size(), 3u);
    expect_got(3000000);
}

TEST_P(Stream, NothingIsStoredWhereNothingHasMoved) {
    ASSERT_OK(ship(5000));
    ASSERT_OK(ship(5000));
    EXPECT_EQ(pieces().size(), 1u);
    ASSERT_OK(ship(0));  // the first byte of the segment is not written yet
    EXPECT_EQ(pieces().size(), 1u);
}

TEST_P(Stream, ManyPiecesBecomeOne) {
    for (std::uint64_t bytes = 1; bytes <= 40; ++bytes) ASSERT_OK(ship(bytes * 9000));
    EXPECT_LE(pieces().size(), 33u);
    EXPECT_GE(pieces().front().end, 33u * 9000u);
    expect_got(40 * 9000);
}

TEST_P(Stream, PiecesGoWhenTheSegmentIsStoredAndNotBefore) {
    ASSERT_OK(ship(5000));
    mark(segment(3), ".ready");
    write_file(wal_path(segment(4)), make_segment(4));
    const auto waiting = ship(kSegmentSize + 6000);
    ASSERT_OK(waiting);
    EXPECT_EQ(waiting->waiting, 2u);
    expect_got(kSegmentSize);  // complete, and not archived: its end was shipped too
    ASSERT_OK(ArchivePusher(push_settings()).push(segment(3), wal_path(segment(3))));
    mark(segment(3), ".done");
    const auto after = ship(kSegmentSize + 6000);
    ASSERT_OK(after);
    EXPECT_EQ(after->waiting, 1u);
    EXPECT_TRUE(pieces().empty());
    EXPECT_EQ(pieces(segment(4)).size(), 1u);
}

TEST_P(Stream, DroppedSegmentKeepsItsPieces) {
    ASSERT_OK(ship(5000));
    mark(segment(3), ".done");  // and it is not in the repository
    write_file(wal_path(segment(4)), make_segment(4));
    ASSERT_OK(ship(kSegmentSize + 6000));
    EXPECT_EQ(pieces().size(), 1u);
}

TEST_P(Stream, NewEngineReplacesThePiecesOfTheOneBefore) {
    ASSERT_OK(ship(5000));
    ASSERT_OK(ship(9000));
    own_.reset();
    ASSERT_OK(ship(9500));
    ASSERT_EQ(pieces().size(), 1u);
    expect_got(9500);
}

TEST_P(Stream, NewEngineRemovesPiecesOfSegmentsArchivedMeanwhile) {
    ASSERT_OK(ship(5000));
    ASSERT_OK(ArchivePusher(push_settings()).push(segment(3), wal_path(segment(3))));
    std::filesystem::remove(wal_path(segment(3)));  // recycled
    own_.reset();
    write_file(wal_path(segment(5)), make_segment(5));
    ASSERT_OK(ship(2 * kSegmentSize + 100));
    EXPECT_TRUE(pieces().empty());
}

TEST_P(Stream, WholeSegmentIsTakenThoughThereArePieces) {
    ASSERT_OK(ship(5000));
    ASSERT_OK(ArchivePusher(push_settings()).push(segment(3), wal_path(segment(3))));
    const auto outcome = get_streamed();
    ASSERT_OK(outcome);
    EXPECT_EQ(*outcome, GetOutcome::found);
    EXPECT_TRUE(read_file(destination()) == content_);
}

TEST_P(Stream, OtherSegmentsAndTimelinesHaveNone) {
    ASSERT_OK(ship(5000));
    EXPECT_EQ(*get_streamed(segment(4)), GetOutcome::missing);
    EXPECT_EQ(*get_streamed(segment(3, 2)), GetOutcome::missing);
}

TEST_P(Stream, WhatLiesBehindASwitchOfTimelineIsNotUsed) {
    ASSERT_OK(ship(50000));
    put_history(2, Lsn{kStart + 20000});
    expect_got(20000);
    put_history(3, Lsn{kStart});
    EXPECT_EQ(*get_streamed(), GetOutcome::missing);
}

TEST_P(Stream, DamagedPieceIsAnErrorAndNamed) {
    ASSERT_OK(ship(50000));
    const std::string object = pieces().front().object(kStanza, "15-1");
    const std::string path = repo_path(1) + "/" + object;
    std::string stored = read_file(path);
    stored.resize(stored.size() / 2);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    write_file(path, stored);
    const auto outcome = get_streamed();
    ASSERT_FALSE(outcome);
    EXPECT_THAT(outcome.error().message(), HasSubstr(object));
    EXPECT_FALSE(std::filesystem::exists(destination()));
}

// A server asks for its last segment twice, and between the two has it in pg_wal.
TEST_P(Stream, WhatPgWalHasKeptIsNotFetchedAgainAndNotBelievedEither) {
    ASSERT_OK(ship(5000));
    ASSERT_OK(ship(50000));
    expect_got(50000);
    std::filesystem::rename(destination(), wal_path(segment(3)));
    const std::string kept = read_file(wal_path(segment(3)));
    // From here on nothing can be fetched.
    for (const repo::WalPiece& piece : pieces())
        write_file(repo_path(1) + "/" + piece.object(kStanza, "15-1"), "");
    const auto again = get_streamed();
    ASSERT_OK(again);
    EXPECT_EQ(*again, GetOutcome::found);
    EXPECT_TRUE(read_file(destination()) == kept);
    for (const std::size_t at : {std::size_t{100}, std::size_t{49999}, kSegmentSize - 1}) {
        SCOPED_TRACE(at);
        std::string changed = kept;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        std::filesystem::remove(wal_path(segment(3)));
        std::filesystem::remove(destination());
        write_file(wal_path(segment(3)), changed);
        EXPECT_FALSE(get_streamed());
        EXPECT_FALSE(std::filesystem::exists(destination()));
    }
    std::filesystem::remove(wal_path(segment(3)));
    write_file(wal_path(segment(3)), kept.substr(0, 60000));
    EXPECT_FALSE(get_streamed());
}

TEST_P(Stream, RepositoryThatIsAwayGetsEverythingWhenItIsBack) {
    ASSERT_OK(ship(5000));
    mount(1).away = true;
    EXPECT_FALSE(ship(6000));
    mount(1).away = false;
    ASSERT_OK(ship(7000));
    expect_got(7000);
}

INSTANTIATE_TEST_SUITE_P(PlainAndEncrypted, Stream, testing::Bool());

}  // namespace
}  // namespace chronos::ops::archive
