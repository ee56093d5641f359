#include "ops/backup/monitor.h"

#include <chrono>
#include <exception>
#include <utility>

#include "chronos/base/activity.h"
#include "chronos/db/standby.h"

namespace chronos::ops::backup {
namespace {

constexpr std::chrono::milliseconds kTick(100);
constexpr std::uint64_t kTicksPerReport = 3;
constexpr std::uint64_t kTicksPerSessionCheck = 50;

}  // namespace

Monitor::Monitor(MonitorSettings settings, const Cancellation& outer)
    : settings_(std::move(settings)), outer_(outer), thread_([this] { run(); }) {}

Monitor::~Monitor() {
    stop_thread();
}

void Monitor::stop_thread() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

Result<> Monitor::finish() {
    stop_thread();
    if (error_) return *std::move(error_);
    report();
    return {};
}

void Monitor::run() {
    const Activity::Quiet watching;
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, kTick, [this] { return stopping_; })) {
        lock.unlock();
        Result<> result;
        try {
            result = tick();
        } catch (const std::exception& exception) {
            result = Error(ErrorKind::internal, exception.what());
        }
        if (!result) {
            error_ = std::move(result).error();
            inner_.request();
            return;
        }
        lock.lock();
    }
}

Result<> Monitor::tick() {
    CHRONOS_TRY(outer_.check());
    ++ticks_;
    if (ticks_ % kTicksPerReport == 0) report();
    if (ticks_ % kTicksPerSessionCheck == 0) CHRONOS_TRY(check_session());
    const std::uint64_t bytes = bytes_.load(std::memory_order_relaxed);
    if (settings_.save_every_bytes == 0 || bytes - saved_at_bytes_ < settings_.save_every_bytes)
        return {};
    saved_at_bytes_ = bytes;
    return settings_.save();
}

Result<> Monitor::check_session() {
    if (settings_.connection == nullptr) return {};
    CHRONOS_TRY_DOING(settings_.connection->query("SELECT 1"),
                      "the backup session ended while files were copied");
    if (settings_.standby) CHRONOS_TRY(db::check_not_promoted(*settings_.connection));
    return {};
}

void Monitor::report() {
    Progress progress = settings_.totals;
    progress.bytes_done = bytes_.load(std::memory_order_relaxed);
    progress.files_done = files_.load(std::memory_order_relaxed);
    if (settings_.stages != nullptr) progress.stages = settings_.stages->times();
    if (settings_.progress) settings_.progress(progress);
    if (settings_.lock != nullptr)
        settings_.lock->report_progress(progress.bytes_total, progress.bytes_done);
}

}  // namespace chronos::ops::backup
