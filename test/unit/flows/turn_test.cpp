#include "chronos/flows/turn.h"

#include <gmock/gmock.h>

#include <thread>

#include "chronos/storage/posix/posix_storage.h"
#include "fake_connection.h"
#include "fault_storage.h"
#include "memory_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::flows {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

class AwaitATurn : public testing::Test {
protected:
    AwaitATurn() {
        repository_.storage = std::make_shared<test::MemoryStorage>();
        request_.turn = {"main", "nightly", 1795161600, 1, "here"};
        request_.repositories = {repository_};
        request_.yields_for = request_.follows_for = milliseconds(80);
        request_.pause = milliseconds(5);
        be(false);
    }
    void be(bool standby) {
        request_.standby = standby;
        recover(standby);
    }
    void recover(bool recovering) {
        server_.on("pg_is_in_recovery", {{recovering ? "true" : "false"}});
    }
    auto await() { return await_turn(request_, server_, {}, cancel_); }
    std::unique_ptr<repo::Turn> take_elsewhere() {
        repo::TurnRequest there = request_.turn;
        there.server = "there";
        const auto looked = repo::Turn::look(repository_, there);
        EXPECT_OK(looked);
        auto turn = repo::Turn::take(repository_, there, *looked);
        EXPECT_OK(turn);
        return *std::move(turn);
    }
    repo::TurnState state() {
        const auto looked = repo::Turn::look(repository_, request_.turn);
        EXPECT_OK(looked);
        return looked->state;
    }

    repo::Repository repository_;
    test::FakeConnection server_;
    Cancellation cancel_;
    AwaitTurn request_;
};

TEST_F(AwaitATurn, TakesWhatNobodyHas) {
    for (const TurnPart part : {TurnPart::take, TurnPart::yield}) {
        request_.part = part;
        ++request_.turn.due;
        const auto awaited = await();
        ASSERT_OK(awaited);
        EXPECT_TRUE(awaited->turn);
        EXPECT_EQ(awaited->made_elsewhere, "");
    }
}

TEST_F(AwaitATurn, WaitsForWhoHasItAndSaysWhatHasBeenMade) {
    for (const TurnPart part : {TurnPart::take, TurnPart::yield, TurnPart::follow}) {
        request_.part = part;
        ++request_.turn.due;
        auto turn = take_elsewhere();
        std::thread other([&] {
            std::this_thread::sleep_for(milliseconds(150));  // longer than anybody waits for nobody
            EXPECT_OK(turn->succeeded("20261120-075745F"));
        });
        const auto awaited = await();
        other.join();
        ASSERT_OK(awaited);
        EXPECT_FALSE(awaited->turn);
        EXPECT_EQ(awaited->made_elsewhere, "made by there: 20261120-075745F");
    }
}

// Hours of another server's work are longer than a repository is always there.
TEST_F(AwaitATurn, OutlastsAnOutageOnceItKnowsTheRepository) {
    const auto faulty = std::make_shared<test::FaultStorage>(repository_.storage);
    faulty->add({.operation = test::Operation::list, .first_call = 3, .calls = 4});
    request_.repositories.front().storage = faulty;
    auto turn = take_elsewhere();
    std::thread other([&] {
        std::this_thread::sleep_for(milliseconds(150));
        EXPECT_OK(turn->succeeded("20261120-075745F"));
    });
    EXPECT_OK(await());
    other.join();
    faulty->add({.operation = test::Operation::list, .calls = test::Fault::kEver});
    EXPECT_ERROR(ErrorKind::service, await());
}

// A directory whose file system is not mounted, or a cluster that has not archived anything.
TEST_F(AwaitATurn, IsThatOfTheServerWithoutAStanzaUnlessItIsForOthers) {
    const test::TemporaryDirectory directory;
    request_.repositories.front().storage = storage::make_posix_storage(directory.path());
    const auto awaited = await();
    ASSERT_OK(awaited);
    EXPECT_FALSE(awaited->turn);
    EXPECT_EQ(awaited->made_elsewhere, "");
    request_.part = TurnPart::follow;
    EXPECT_ERROR(ErrorKind::db_connect, await());
}

TEST_F(AwaitATurn, HasThatOfAServerThatIsGone) {
    auto turn = take_elsewhere();
    std::thread other([&] {
        std::this_thread::sleep_for(milliseconds(30));
        turn.reset();
    });
    const auto awaited = await();
    other.join();
    ASSERT_OK(awaited);
    EXPECT_TRUE(awaited->turn);
}

// The primary keeps the history.
TEST_F(AwaitATurn, FailureElsewhereIsOneOnThePrimaryOnly) {
    EXPECT_OK(take_elsewhere()->failed(Error(ErrorKind::archive_timeout, "no WAL")));
    const auto awaited = await();
    EXPECT_ERROR(ErrorKind::archive_timeout, awaited);
    EXPECT_EQ(awaited.error().message(), "on there: no WAL");
    be(true);
    const auto on_standby = await();
    ASSERT_OK(on_standby);
    EXPECT_EQ(on_standby->made_elsewhere, "on there: no WAL");
}

TEST_F(AwaitATurn, ThatIsForOthersFailsIfNobodyComes) {
    request_.part = TurnPart::follow;
    const auto awaited = await();
    EXPECT_ERROR(ErrorKind::db_connect, awaited);
    EXPECT_THAT(awaited.error().message(), HasSubstr("no standby has taken the run"));
}

TEST_F(AwaitATurn, IsNotThatOfAStandbyThatWasPromotedMeanwhile) {
    be(true);
    recover(false);
    const auto awaited = await();
    ASSERT_OK(awaited);
    EXPECT_FALSE(awaited->turn);
    EXPECT_THAT(awaited->made_elsewhere, HasSubstr("promoted"));
    EXPECT_EQ(state(), repo::TurnState::open);
}

TEST_F(AwaitATurn, ThatFailsIsLeftToOthersWhereTheServerIsTheReason) {
    const auto settle = [&](const Error& error) {
        ++request_.turn.due;
        auto awaited = await_turn(request_, server_, {}, cancel_);
        ASSERT_OK(awaited);
        if (error.kind() == ErrorKind::db_mismatch) recover(false);
        settle_failed_turn(std::move(awaited->turn), request_, server_, error);
    };
    be(true);
    settle(Error(ErrorKind::file_read, "a page"));
    EXPECT_EQ(state(), repo::TurnState::failed);
    settle(Error(ErrorKind::cancelled, "stopped"));
    EXPECT_EQ(state(), repo::TurnState::open);
    settle(Error(ErrorKind::db_mismatch, "promoted"));
    EXPECT_EQ(state(), repo::TurnState::open);
    be(false);
    settle(Error(ErrorKind::file_read, "a page"));
    EXPECT_EQ(state(), repo::TurnState::failed);
}

}  // namespace
}  // namespace chronos::flows
