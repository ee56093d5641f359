#include "chronos/repo/side/turn.h"

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "chronos/base/process_id.h"
#include "chronos/storage/posix/posix_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::repo {
namespace {

class TakeTurn : public testing::Test {
protected:
    TakeTurn() {
        repository_.storage = storage::make_posix_storage(directory_.path());
        std::filesystem::create_directories(directory_ / "backup/main");
    }
    TurnLook look(unsigned attempt = 1) {
        request_.attempt = attempt;
        auto looked = Turn::look(repository_, request_);
        EXPECT_OK(looked);
        return looked ? *looked : TurnLook{};
    }
    std::unique_ptr<Turn> take(unsigned attempt = 1) {
        const TurnLook looked = look(attempt);
        EXPECT_EQ(looked.state, TurnState::open);
        auto turn = Turn::take(repository_, request_, looked);
        EXPECT_OK(turn);
        return turn ? *std::move(turn) : nullptr;
    }
    /// The only run that there is.
    std::string run() const {
        const std::filesystem::directory_iterator found(directory_ / "chronos/main/turns");
        return found->path().string();
    }
    /// What a server elsewhere has left, `age` ago.
    void leave(const std::string& record, std::chrono::seconds age) {
        const std::string path = run() + "/" + record;
        std::ofstream(path) << R"({"state":"under-way","server":"far","host":"far","boot":"boot",)"
                            << R"("namespace":"pid:[1]","pid":"7","start":"7"})" << '\n';
        std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - age);
    }

    test::TemporaryDirectory directory_;
    Repository repository_;
    TurnRequest request_{"main", "nightly / \"full\"", 1764550800, 1, "here"};
};

TEST_F(TakeTurn, IsOfTheFirstAndOfNobodyElseOnceItIsMade) {
    {
        const auto turn = take();
        ASSERT_TRUE(turn);
        EXPECT_EQ(look().state, TurnState::under_way);
        EXPECT_EQ(look(2).state, TurnState::under_way);
        EXPECT_EQ(look().server, "here");
        EXPECT_OK(turn->succeeded("20261120-075745F"));
    }
    for (const unsigned attempt : {1u, 2u}) {
        EXPECT_EQ(look(attempt).state, TurnState::done);
        EXPECT_EQ(look(attempt).label, "20261120-075745F");
    }
    ++request_.due;
    EXPECT_EQ(look().state, TurnState::open);
    --request_.due;
    request_.schedule = "another";
    EXPECT_EQ(look().state, TurnState::open);
}

TEST_F(TakeTurn, OfManyThatComeAtOnceOneHasIt) {
    const TurnLook seen = look();
    std::atomic<int> winners{0};
    std::vector<std::unique_ptr<Turn>> turns(8);
    std::vector<std::thread> threads;
    for (auto& turn : turns)
        threads.emplace_back([&, this] {
            auto taken = Turn::take(repository_, request_, seen);
            if (!taken || !*taken) return;
            turn = *std::move(taken);
            ++winners;
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(winners, 1);
}

// The schedule says whether it is tried again; whoever comes late with the first attempt does not.
TEST_F(TakeTurn, ThatFailedIsTakenAgainByTheNextAttemptOnly) {
    EXPECT_OK(take()->failed(Error(ErrorKind::archive_timeout, "no WAL\ncame")));
    EXPECT_EQ(look(1).state, TurnState::failed);
    EXPECT_EQ(look(1).message, "no WAL came");
    EXPECT_EQ(look(1).kind, ErrorKind::archive_timeout);
    EXPECT_EQ(look(2).state, TurnState::open);
    EXPECT_OK(take(2)->succeeded("label"));
    EXPECT_EQ(look(1).state, TurnState::done);
}

TEST_F(TakeTurn, ThatIsGivenUpOrLostIsOpenAtOnce) {
    (void)take();  // the process goes on, and says so
    EXPECT_EQ(look().state, TurnState::open);
    EXPECT_EQ(look().next, 2u);
    const auto turn = take();
    EXPECT_EQ(look().state, TurnState::under_way);
}

// Its machine may be alive, and nobody here can see that.
TEST_F(TakeTurn, OfAnotherMachineIsLostOnceItIsNotRenewed) {
    (void)take();
    leave("1-2", std::chrono::seconds(200));
    EXPECT_EQ(look().state, TurnState::under_way);
    EXPECT_EQ(look().server, "far");
    leave("1-2", std::chrono::seconds(300));
    EXPECT_EQ(look().state, TurnState::open);
    EXPECT_EQ(look().next, 3u);
    // Whoever was taken for lost and was not: what was made is not made again.
    EXPECT_OK(take()->succeeded("label"));
    leave("1-1", std::chrono::seconds(0));
    EXPECT_EQ(look().state, TurnState::done);
}

TEST_F(TakeTurn, ForgetsRunsOfLongAgoAndNotTheLastOnes) {
    const UnixTime first = request_.due;
    for (int i = 0; i < 20; ++i) {
        request_.due = first + 60 * i;
        EXPECT_OK(take()->succeeded("label"));
    }
    const std::filesystem::directory_iterator runs(directory_ / "chronos/main/turns");
    EXPECT_EQ(std::distance(begin(runs), end(runs)), 16);
    EXPECT_EQ(look().state, TurnState::done);
}

// A repository whose file system is not mounted, or that has nothing yet.
TEST_F(TakeTurn, IsNowhereWithoutAStanza) {
    std::filesystem::remove_all(directory_ / "backup");
    EXPECT_ERROR(ErrorKind::path_missing, Turn::look(repository_, request_));
    EXPECT_FALSE(std::filesystem::exists(directory_ / "chronos"));
}

}  // namespace
}  // namespace chronos::repo
