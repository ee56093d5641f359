#include "ops/backup/throughput.h"

#include <gtest/gtest.h>

#include <thread>

#include "ops/backup/stages.h"
#include "result_matchers.h"

namespace chronos::ops::backup {
namespace {

using std::chrono::milliseconds;

/// A storage that takes its time.
class SlowSink final : public io::Sink {
public:
    Result<> write(io::Bytes) override { return finish(); }
    Result<> finish() override {
        const io::WaitScope waiting;
        std::this_thread::sleep_for(milliseconds(30));
        return {};
    }
};

TEST(StageClock, SplitsTheTimeOfAThread) {
    Stages stages;
    StageClock clock(stages);
    std::this_thread::sleep_for(milliseconds(20));
    EXPECT_EQ(clock.reading([] {
        std::this_thread::sleep_for(milliseconds(10));
        return 7;
    }),
              7);
    StoringSink sink(std::make_unique<SlowSink>(), clock);
    ASSERT_OK(sink.write(io::bytes("abc")));
    ASSERT_OK(sink.finish());
    clock.waiting([] {
        std::this_thread::sleep_for(milliseconds(15));
        return 0;
    });
    const StageTimes times = stages.times();
    EXPECT_GE(times.clock_ms, 15u);
    EXPECT_GE(times.compute_ms, 20u);
    EXPECT_LT(times.compute_ms, 100u) << "or the sleeps of the others count here too";
    EXPECT_GE(times.read_ms, 10u);
    EXPECT_GE(times.store_ms, 60u);
    EXPECT_EQ(times.stored_bytes, 3u);
}

// With more threads than processors a thread that comes back from its upload waits for its turn: a
// faster link would not help.
TEST(StageClock, WaitingForAProcessorIsNotWaitingForTheStorage) {
    io::CpuTokens tokens(1);
    Stages stages;
    StageClock clock(stages);
    const io::TokenScope token(&tokens);
    std::jthread rival;
    clock.storing([&] {
        const io::WaitScope waiting;
        rival = std::jthread([&] {
            const io::TokenScope own(&tokens);
            std::this_thread::sleep_for(milliseconds(300));
        });
        std::this_thread::sleep_for(milliseconds(50));  // the rival has the token by then
        return true;
    });
    const StageTimes times = stages.times();
    EXPECT_GE(times.compute_ms, 150u);
    EXPECT_LT(times.store_ms, 150u);
}

TEST(ThroughputText, SaysWhatWasSlowAndWhatWasWaitedFor) {
    const StageTimes stages{.read_ms = 1000,
                            .compute_ms = 6100,
                            .store_ms = 2500,
                            .clock_ms = 400,
                            .stored_bytes = 50 << 20};
    const Waits waits{
        .checkpoint = Seconds(3.21), .copy = Seconds(10), .sync = Seconds(0.04), .wal = Seconds(1)};
    EXPECT_EQ(throughput_text(200 << 20, stages, waits),
              "copied 200MB in 10.0s (20MB/s), stored 50MB (5MB/s): reading 10%, compressing 61%, "
              "waiting for storage 25%, for the clock 4%; waited for checkpoint 3.2s, sync 0.0s, "
              "WAL 1.0s");
}

TEST(ThroughputText, ABackupThatCopiedNothingDividesByNothing) {
    EXPECT_EQ(throughput_text(0, {}, {}),
              "copied 0B in 0.0s (0B/s), stored 0B (0B/s): reading 0%, compressing 0%, waiting for "
              "storage 0%, for the clock 0%; waited for checkpoint 0.0s, sync 0.0s, WAL 0.0s");
}

}  // namespace
}  // namespace chronos::ops::backup
