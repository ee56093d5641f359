#pragma once

#include <atomic>
#include <chrono>

#include "chronos/base/result.h"

namespace chronos {

/// A request to stop that reaches every thread of a command. Any thread, and a signal handler, may
/// request; workers ask check() between bounded pieces of work and pass the error up.
class Cancellation {
public:
    void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
    bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }
    Result<> check() const {
        if (requested()) return Error(ErrorKind::cancelled, "terminated by request");
        return {};
    }
    /// Waits, looking at the request ten times a second: an error as soon as it is made.
    Result<> sleep(std::chrono::milliseconds duration) const;

private:
    std::atomic<bool> requested_{false};
};

/// A point in time after which a wait is given up. Monotonic: setting the clock does not move it.
class Deadline {
public:
    explicit Deadline(std::chrono::milliseconds from_now)
        : at_(std::chrono::steady_clock::now() + from_now) {}
    bool passed() const { return std::chrono::steady_clock::now() >= at_; }
    std::chrono::milliseconds remaining() const {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            at_ - std::chrono::steady_clock::now());
        return left.count() < 0 ? std::chrono::milliseconds(0) : left;
    }

private:
    std::chrono::steady_clock::time_point at_;
};

}  // namespace chronos
