#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/db/connection.h"
#include "chronos/repo/local/lock.h"
#include "ops/backup/stages.h"

namespace chronos::ops::backup {

struct MonitorSettings {
    Progress totals;  ///< phase, bytes_total, files_total
    ProgressReceiver progress;
    repo::Lock* lock = nullptr;            ///< shows the progress to `info`
    std::uint64_t save_every_bytes = 0;    ///< 0: never
    std::function<Result<>()> save;        ///< writes the partial manifest
    const Stages* stages = nullptr;        ///< told with the progress
    db::Connection* connection = nullptr;  ///< whose loss makes further copying pointless
    bool standby = false;                  ///< so does its promotion
};

/// Watches over a copy from a thread of its own: reports progress, saves the partial manifest, and
/// passes on a request to stop or the loss of the backup session to the copying threads.
class Monitor {
public:
    Monitor(MonitorSettings settings, const Cancellation& outer);
    ~Monitor();
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    /// What the copying threads obey.
    const Cancellation& cancel() const { return inner_; }
    void add_bytes(std::uint64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
    std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
    void add_file() { files_.fetch_add(1, std::memory_order_relaxed); }

    /// Ends the thread. An error is the reason why it stopped the copy.
    Result<> finish();

private:
    void run();
    void stop_thread();
    Result<> tick();
    Result<> check_session();
    void report();

    MonitorSettings settings_;
    const Cancellation& outer_;
    Cancellation inner_;
    std::atomic<std::uint64_t> bytes_{0};
    std::atomic<std::uint64_t> files_{0};
    std::uint64_t saved_at_bytes_ = 0;
    std::uint64_t ticks_ = 0;
    std::optional<Error> error_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace chronos::ops::backup
