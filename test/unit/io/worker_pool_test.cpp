#include "chronos/io/worker_pool.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "chronos/io/cpu_tokens.h"
#include "result_matchers.h"

namespace chronos::io {
namespace {

TEST(ParallelFor, RunsEveryIndexOnce) {
    std::atomic<int> sum{0};
    const Cancellation cancel;
    ASSERT_OK(parallel_for(4, 1000, cancel, [&](std::size_t index) -> Result<> {
        sum += static_cast<int>(index);
        return {};
    }));
    EXPECT_EQ(sum, 499500);
}

TEST(ParallelFor, ReturnsTheFirstErrorAndStartsNothingMore) {
    std::atomic<int> started{0};
    const Cancellation cancel;
    EXPECT_ERROR(ErrorKind::format,
                 parallel_for(1, 1000, cancel, [&](std::size_t index) -> Result<> {
                     ++started;
                     if (index == 10) return Error(ErrorKind::format, "tenth");
                     return {};
                 }));
    EXPECT_EQ(started, 11);
}

TEST(ParallelFor, TurnsAnExceptionIntoAnError) {
    const Cancellation cancel;
    EXPECT_ERROR(ErrorKind::internal, parallel_for(2, 3, cancel, [](std::size_t) -> Result<> {
                     throw std::runtime_error("broken");
                 }));
}

TEST(ParallelFor, EndsWhenCancelled) {
    Cancellation cancel;
    std::atomic<int> started{0};
    EXPECT_ERROR(ErrorKind::cancelled, parallel_for(2, 1000, cancel, [&](std::size_t) -> Result<> {
                     ++started;
                     cancel.request();
                     return {};
                 }));
    EXPECT_LT(started, 1000);
}

TEST(ParallelFor, NoMoreThreadsComputeThanMayWhileTheOthersWait) {
    const Cancellation cancel;
    std::atomic<int> computing{0};
    std::atomic<int> waiting{0};
    std::atomic<int> most_computing{0};
    std::atomic<int> most_waiting{0};
    const auto count_up = [](std::atomic<int>& now, std::atomic<int>& most) {
        const int value = ++now;
        for (int seen = most; seen < value && !most.compare_exchange_weak(seen, value);) {
        }
    };
    ASSERT_OK(parallel_for({16, 2}, 64, cancel, [&](std::size_t) -> Result<> {
        count_up(computing, most_computing);
        --computing;
        {
            const WaitScope scope;
            count_up(waiting, most_waiting);
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            --waiting;
        }
        count_up(computing, most_computing);
        --computing;
        return {};
    }));
    EXPECT_LE(most_computing, 2);
    EXPECT_GT(most_waiting, 4);
}

TEST(CpuTokens, AHelperThreadTakesItsTokenFromThoseOfItsMaster) {
    const Cancellation cancel;
    ASSERT_OK(parallel_for({1, 1}, 1, cancel, [&](std::size_t) -> Result<> {
        CpuTokens* const tokens = CpuTokens::of_thread();
        EXPECT_NE(tokens, nullptr);
        std::atomic<bool> helped{false};
        std::jthread helper([&] {
            const TokenScope token(tokens);
            helped = true;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        EXPECT_FALSE(helped) << "the only token is held";
        const WaitScope waiting;
        helper.join();
        EXPECT_TRUE(helped);
        EXPECT_EQ(CpuTokens::of_thread(), nullptr);
        return {};
    }));
    EXPECT_EQ(CpuTokens::of_thread(), nullptr);
}

TEST(CpuTokens, LongWorkLetsThoseInThatComeBackFromAWait) {
    CpuTokens tokens(1);
    std::atomic<bool> waits{false}, go_on{false}, is_back{false};
    std::jthread waiting([&] {
        const TokenScope token(&tokens);
        {
            const WaitScope wait;
            waits = true;
            while (!go_on) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        is_back = true;
    });
    while (!waits) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const TokenScope token(&tokens);
    go_on = true;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!is_back && std::chrono::steady_clock::now() < deadline) {
        CpuTokens::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_TRUE(is_back);
}

TEST(ByteBudget, WhatAShareDoesNotNeedIsThereForOthers) {
    ByteBudget budget(100);
    ByteBudget::Share first(budget, 100);
    first.shrink_to(40);
    first.shrink_to(70);  // never grows
    std::jthread other([&] { const ByteBudget::Share share(budget, 60); });
    other.join();
    first.shrink_to(0);
    const ByteBudget::Share all(budget, 100);
}

TEST(ByteBudget, SharesNeverSumUpToMoreAndOneTooLargeRunsAlone) {
    ByteBudget budget(100);
    std::atomic<int> used{0};
    std::atomic<bool> over{false};
    const Cancellation cancel;
    ASSERT_OK(parallel_for(8, 200, cancel, [&](std::size_t index) -> Result<> {
        const int size = index % 50 == 0 ? 100 : 30;
        const ByteBudget::Share share(budget, index % 50 == 0 ? 1000 : 30);
        if ((used += size) > 100) over = true;
        std::this_thread::yield();
        used -= size;
        return {};
    }));
    EXPECT_FALSE(over);
}

}  // namespace
}  // namespace chronos::io
