#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "chronos/base/progress.h"
#include "chronos/io/cpu_tokens.h"
#include "chronos/io/stream.h"

namespace chronos::ops::backup {

/// The sum of what the threads of a copy have spent their time on. Any thread.
class Stages {
public:
    StageTimes times() const;

private:
    friend class StageClock;
    std::atomic<std::int64_t> read_ns_{0};
    std::atomic<std::int64_t> compute_ns_{0};
    std::atomic<std::int64_t> store_ns_{0};
    std::atomic<std::int64_t> clock_ns_{0};
    std::atomic<std::uint64_t> stored_bytes_{0};
};

/// Splits the time of one thread, from its construction on: what is not spent in reading(),
/// storing() or waiting() is computing, or waiting for a processor to do so. A call costs two looks
/// at the clock. One thread.
class StageClock {
public:
    explicit StageClock(Stages& stages) : stages_(stages), mark_(Clock::now()) {}
    StageClock(const StageClock&) = delete;
    StageClock& operator=(const StageClock&) = delete;

    template <class Call>
    auto reading(const Call& call) {
        return spend(stages_.read_ns_, call);
    }
    template <class Call>
    auto storing(const Call& call) {
        return spend(stages_.store_ns_, call);
    }
    /// For the clock, see StageTimes.
    template <class Call>
    auto waiting(const Call& call) {
        return spend(stages_.clock_ns_, call);
    }
    void add_stored(std::uint64_t bytes) {
        stages_.stored_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    }

private:
    using Clock = std::chrono::steady_clock;

    /// Makes the time since the mark that of a stage.
    void lap(std::atomic<std::int64_t>& stage, std::chrono::nanoseconds not_of_it = {}) {
        const Clock::time_point now = Clock::now();
        const auto passed = std::chrono::duration_cast<std::chrono::nanoseconds>(now - mark_);
        stage.fetch_add((passed - not_of_it).count(), std::memory_order_relaxed);
        stages_.compute_ns_.fetch_add(not_of_it.count(), std::memory_order_relaxed);
        mark_ = now;
    }

    template <class Call>
    auto spend(std::atomic<std::int64_t>& stage, const Call& call) {
        lap(stages_.compute_ns_);
        // A thread that comes back from a wait for the storage may have to wait for a processor.
        const std::chrono::nanoseconds waited = io::CpuTokens::waited();
        auto result = call();
        lap(stage, io::CpuTokens::waited() - waited);
        return result;
    }

    Stages& stages_;
    Clock::time_point mark_;
};

/// The end of a pipeline: hands on to a sink of the storage, and says how long that took.
class StoringSink final : public io::Sink {
public:
    StoringSink(std::unique_ptr<io::Sink> target, StageClock& clock)
        : target_(std::move(target)), clock_(clock) {}
    Result<> write(io::Bytes in) override {
        clock_.add_stored(in.size());
        return clock_.storing([&] { return target_->write(in); });
    }
    Result<> finish() override {
        return clock_.storing([&] { return target_->finish(); });
    }

private:
    std::unique_ptr<io::Sink> target_;
    StageClock& clock_;
};

}  // namespace chronos::ops::backup
