#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/storage/storage.h"

namespace chronos::ops::verify {

/// Counts what is read, shows it as progress and holds readers back to a rate. Any thread.
class Meter {
public:
    Meter(const ProgressReceiver& progress, const Cancellation& cancel,
          std::uint64_t bytes_per_second_max)
        : progress_(progress), cancel_(cancel), rate_(bytes_per_second_max) {}

    void enter(const std::string& phase);
    void expect(std::uint64_t bytes, std::uint64_t objects);
    void object_done();
    void object_known() { ++objects_known_; }
    /// Waits where the rate wants it; kind cancelled.
    Result<> read(std::uint64_t bytes);

    std::uint64_t bytes_read() const { return bytes_done_; }
    std::uint64_t objects_read() const { return objects_done_; }
    std::uint64_t objects_known() const { return objects_known_; }

private:
    void show(bool now);
    Result<> hold_back(std::uint64_t bytes);

    const ProgressReceiver& progress_;
    const Cancellation& cancel_;
    const std::uint64_t rate_;
    std::atomic<std::uint64_t> bytes_done_{0}, bytes_total_{0};
    std::atomic<std::uint64_t> objects_done_{0}, objects_total_{0}, objects_known_{0};
    std::mutex mutex_;  ///< of what follows
    std::string phase_;
    std::chrono::steady_clock::time_point shown_{};
    std::chrono::steady_clock::time_point free_at_{};  ///< when the rate allows the next read
};

/// Reads of `next` with `meter` told of each. Nothing is written through it.
std::shared_ptr<storage::Storage> make_metered(std::shared_ptr<storage::Storage> next,
                                               Meter& meter);

}  // namespace chronos::ops::verify
