#include "chronos/repo/side/wal_notes.h"

#include <gmock/gmock.h>

#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kArchivePass = "archive pass";

std::string segment(unsigned number, unsigned timeline = 1) {
    char name[25];
    std::snprintf(name, sizeof name, "%08X%08X%08X", timeline, 0, number);
    return name;
}

class WalNotes : public testing::TestWithParam<bool> {
protected:
    void SetUp() override {
        repository_.storage = std::make_shared<test::MemoryStorage>();
        if (!GetParam()) return;
        repository_.cipher = crypto::CipherType::aes_256_cbc;
        repository_.passphrase = "secret";
    }
    void put(const std::string& name, const std::string& content) {
        ASSERT_OK(storage::write_object(*repository_.storage, name, content));
    }
    Result<std::optional<CommitNote>> last_note(const std::string& first, const std::string& last,
                                                std::size_t objects_max = 8) {
        return last_commit_note(repository_, "main", "15-1", first, last, kArchivePass,
                                objects_max);
    }
    Repository repository_;
};

TEST_P(WalNotes, GapsComeBackInOrderAndTheLongerOneReplacesTheShorter) {
    const WalGap second{segment(9), segment(9), 300, 300};
    ASSERT_OK(save_gap(repository_, "main", "15-1", second, kArchivePass));
    ASSERT_OK(
        save_gap(repository_, "main", "15-1", {segment(3), segment(4), 100, 110}, kArchivePass));
    const WalGap longer{segment(3), segment(6), 100, 200};
    ASSERT_OK(save_gap(repository_, "main", "15-1", longer, kArchivePass));
    const auto gaps = list_gaps(repository_, "main", "15-1", kArchivePass);
    ASSERT_OK(gaps);
    EXPECT_THAT(*gaps, ElementsAre(longer, second));
    EXPECT_THAT(*list_gaps(repository_, "main", "15-2", kArchivePass), IsEmpty());
}

// An age that is computed with it would overflow.
TEST_P(WalNotes, ATimeThatNoClockShowsIsNoRecord) {
    ASSERT_OK(
        save_gap(repository_, "main", "15-1", {segment(3), segment(4), 100, 110}, kArchivePass));
    for (const char* times : {"9223372036854775808 9223372036854775808", "100 253402300800"})
        ASSERT_OK(write_text(repository_, "chronos/main/gap/15-1/" + segment(8),
                             segment(9) + " " + times + "\n", kArchivePass));
    ASSERT_OK(write_text(repository_, "chronos/main/commit/15-1/" + segment(8),
                         segment(8) + " 9223372036854775807 0/8000100\n", kArchivePass));
    EXPECT_EQ(list_gaps(repository_, "main", "15-1", kArchivePass)->size(), 1u);
    EXPECT_EQ(*last_note(segment(1), segment(9)), std::nullopt);
}

TEST_P(WalNotes, LastCommitIsThatOfTheLastSegmentThatHasOne) {
    const CommitNote three{segment(3), 1000, Lsn{0x3000100}};
    const CommitNote four{segment(4), 2000, Lsn{0x4000100}};
    const CommitNote eight{segment(8), 9000, Lsn{0x8000100}};
    ASSERT_OK(save_commit_notes(repository_, "main", "15-1", {three, four}, kArchivePass));
    ASSERT_OK(save_commit_notes(repository_, "main", "15-1", {eight}, kArchivePass));
    EXPECT_EQ(**last_note(segment(1), segment(9)), eight);
    EXPECT_EQ(**last_note(segment(1), segment(7)), four);
    EXPECT_EQ(**last_note(segment(1), segment(3)), three);
    EXPECT_FALSE(*last_note(segment(5), segment(7))) << "before the range";
    EXPECT_FALSE(*last_note(segment(1, 2), segment(9, 2))) << "another timeline";
    EXPECT_FALSE(*last_note(segment(1), segment(9), 0)) << "nothing may be read";
}

TEST_P(WalNotes, PiecesAreThoseWhoseNamesAreOfThatForm) {
    WalPiece piece{
        segment(5), 0, 8192, 1795161465000000, std::string(40, 'a'), compress::CompressType::zst,
        0};
    put(piece.object("main", "15-1"), "x");
    const std::string path = "chronos/main/stream/15-1/";
    put(path + segment(5) + "/00000000-00002000-short", "x");
    put(path + segment(5) + "/00002000-00002000-0000000000000000-" + std::string(40, 'a'), "x");
    put(path + "nonsense", "x");
    WalPiece other{segment(4), 16, 32, 0, std::string(40, 'b'), compress::CompressType::none, 0};
    put(other.object("main", "15-1"), "x");
    const auto pieces = list_wal_pieces(repository_, "main", "15-1");
    ASSERT_OK(pieces);
    ASSERT_EQ(pieces->size(), 2u);
    EXPECT_EQ(pieces->front().object("main", "15-1"), other.object("main", "15-1"));
    EXPECT_EQ(pieces->back().object("main", "15-1"), piece.object("main", "15-1"));
    EXPECT_EQ(pieces->back().commit_us, piece.commit_us);
    EXPECT_EQ(list_wal_pieces(repository_, "main", "15-1", segment(5))->size(), 1u);
}

TEST_P(WalNotes, OfRemovedWalAreRemovedAndThoseOfTheRestStay) {
    for (unsigned first : {3, 8}) {
        const WalGap gap{segment(first), segment(first + 1), 100, 110};
        ASSERT_OK(save_gap(repository_, "main", "15-1", gap, kArchivePass));
        const CommitNote note{segment(first), first * 1000, Lsn{first * 0x1000000ull + 16}};
        ASSERT_OK(save_commit_notes(repository_, "main", "15-1", {note}, kArchivePass));
        put(WalPiece{segment(first), 0, 8, 0, std::string(40, 'a'), compress::CompressType::none, 0}
                .object("main", "15-1"),
            "x");
    }
    const auto removed = [&](const std::string& before) {
        EXPECT_OK(remove_wal_notes(repository_, "main", "15-1", before, kArchivePass));
        return std::vector<std::size_t>{
            list_gaps(repository_, "main", "15-1", kArchivePass)->size(),
            list_wal_pieces(repository_, "main", "15-1")->size(),
            repository_.storage->list("chronos/main/commit/15-1")->size()};
    };
    EXPECT_THAT(removed(segment(4)), ElementsAre(2, 1, 2)) << "the gap goes on to 4";
    EXPECT_THAT(removed(segment(8)), ElementsAre(1, 1, 1));
    EXPECT_EQ(**last_note(segment(1), segment(9)), (CommitNote{segment(8), 8000, Lsn{0x8000010}}));
    EXPECT_THAT(removed(""), ElementsAre(0, 0, 0));
}

INSTANTIATE_TEST_SUITE_P(PlainAndEncrypted, WalNotes, testing::Bool());

TEST(JoinedPieces, GoAsFarAsThereIsNoHole) {
    const auto piece = [](std::uint32_t begin, std::uint32_t end) {
        return WalPiece{segment(5), begin, end, 0, "", compress::CompressType::none, 0};
    };
    const auto ends = [](const std::vector<WalPiece>& pieces) {
        std::vector<std::uint32_t> all;
        for (const WalPiece& one : joined_pieces(pieces)) all.push_back(one.end);
        return all;
    };
    EXPECT_THAT(ends({}), IsEmpty());
    EXPECT_THAT(ends({piece(16, 32)}), IsEmpty());
    EXPECT_THAT(ends({piece(0, 16), piece(16, 32), piece(40, 48)}), ElementsAre(16, 32));
    EXPECT_THAT(ends({piece(0, 16), piece(0, 32), piece(16, 24), piece(32, 33)}),
                ElementsAre(32, 33));
}

}  // namespace
}  // namespace chronos::repo
