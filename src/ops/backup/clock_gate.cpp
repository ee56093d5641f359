#include "ops/backup/clock_gate.h"

#include <algorithm>

#include "chronos/io/cpu_tokens.h"
#include "ops/backup/plan.h"

namespace chronos::ops::backup {
namespace {

using std::chrono::milliseconds;

// A file system takes its times from a clock that the kernel moves on a hundred times a second.
constexpr milliseconds kFileClockTick(10);
// Times in steps of two seconds (FAT), clocks of two machines that are nearly alike.
constexpr UnixTime kMargin = 2;

milliseconds end_of_second(db::ServerTime listed) {
    return std::chrono::seconds(listed.second + 1) + kFileClockTick;
}

milliseconds since_epoch(db::ServerTime time) {
    return std::chrono::seconds(time.second) + milliseconds(time.millisecond);
}

}  // namespace

ClockGate::ClockGate(db::Connection* connection, db::ServerTime listed)
    : connection_(connection),
      listed_(listed),
      opens_(std::chrono::steady_clock::now() + (end_of_second(listed) - since_epoch(listed))) {}

bool ClockGate::open() const {
    return passed_.load(std::memory_order_relaxed) || std::chrono::steady_clock::now() >= opens_;
}

Result<> ClockGate::pass(const Cancellation& cancel) {
    if (passed_.load(std::memory_order_relaxed)) return {};
    const io::WaitScope waiting;
    const std::lock_guard lock(mutex_);
    if (passed_.load(std::memory_order_relaxed)) return {};
    CHRONOS_TRY(wait(cancel));
    passed_.store(true, std::memory_order_relaxed);
    return {};
}

// Our clock only saves questions: the one that counts is the server's, and it may be set.
Result<> ClockGate::wait(const Cancellation& cancel) {
    constexpr int kAttempts = 3;
    const auto early = std::chrono::ceil<milliseconds>(opens_ - std::chrono::steady_clock::now());
    if (early > milliseconds(0)) CHRONOS_TRY(cancel.sleep(early));
    for (int attempt = 0;; ++attempt) {
        const milliseconds left =
            end_of_second(listed_) - since_epoch(CHRONOS_TRY(clock_of(connection_)));
        if (left <= milliseconds(0)) return {};
        if (attempt == kAttempts)
            return Error(ErrorKind::kernel,
                         "invalid sleep for online backup time with wait remainder")
                .with_hint("The server's clock does not move forward.");
        CHRONOS_TRY(cancel.sleep(std::min(left, milliseconds(1000))));
    }
}

Result<db::ServerTime> clock_of(db::Connection* connection) {
    if (connection != nullptr) return db::server_time(*connection);
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const auto second = std::chrono::floor<std::chrono::seconds>(now);
    return db::ServerTime{
        second.count(),
        static_cast<unsigned>(std::chrono::floor<milliseconds>(now - second).count())};
}

UnixTime settled_before(const repo::Manifest& manifest, db::ServerTime listed) {
    UnixTime newest = listed.second;
    if (const repo::ManifestFile* control = manifest.find_file(kControlFile))
        newest = std::min(newest, control->timestamp);
    return newest - kMargin;
}

}  // namespace chronos::ops::backup
