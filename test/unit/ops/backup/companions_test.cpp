#include "ops/backup/companions.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "result_matchers.h"

namespace chronos::ops::backup {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMuch = std::uint64_t{1} << 30;

TEST(Companions, EnterAndLeaveBackupModeOnceForAll) {
    Companions companions(2);
    const Cancellation cancel;
    std::atomic<int> entered = 0;
    std::atomic<int> left = 0;
    std::atomic<bool> other_copies = true;
    const auto member = [&](std::size_t number) {
        EXPECT_OK(companions.start([&]() -> Result<StartedBackup> {
            ++entered;
            return StartedBackup{};
        }));
        if (number == 1) {
            std::this_thread::sleep_for(100ms);
            other_copies = false;
        }
        EXPECT_OK(companions.stop(
            number,
            [&]() -> Result<EndedBackup> {
                EXPECT_FALSE(other_copies);
                ++left;
                return EndedBackup{};
            },
            cancel));
    };
    std::thread first(member, 0);
    std::thread second(member, 1);
    first.join();
    second.join();
    EXPECT_EQ(entered, 1);
    EXPECT_EQ(left, 1);
}

TEST(Companions, OneThatFailsIsNotWaitedFor) {
    Companions companions(2);
    const Cancellation cancel;
    EXPECT_TRUE(companions.leads(0));
    EXPECT_FALSE(companions.leads(1));
    companions.leave(0);
    EXPECT_TRUE(companions.leads(1));
    companions.pace(1, kMuch, cancel);
    EXPECT_OK(companions.stop(
        1, [] { return Result<EndedBackup>(EndedBackup{}); }, cancel));
}

TEST(Companions, NobodyGetsFarAheadOfWhatTheOthersStillRead) {
    Companions companions(2);
    const Cancellation cancel;
    std::atomic<bool> passed = false;
    std::thread ahead([&] {
        companions.pace(0, kMuch, cancel);
        passed = true;
    });
    std::this_thread::sleep_for(200ms);
    EXPECT_FALSE(passed);
    companions.pace(1, kMuch, cancel);
    ahead.join();
    companions.copied(1);
    companions.pace(0, kMuch, cancel);  // who has read all holds up nobody
}

TEST(Companions, ARequestToStopEndsTheWait) {
    Companions companions(2);
    Cancellation cancel;
    std::thread ahead([&] {
        companions.pace(0, kMuch, cancel);
        EXPECT_ERROR(ErrorKind::cancelled,
                     companions.stop(
                         0, [] { return Result<EndedBackup>(EndedBackup{}); }, cancel));
    });
    std::this_thread::sleep_for(50ms);
    cancel.request();
    ahead.join();
}

}  // namespace
}  // namespace chronos::ops::backup
