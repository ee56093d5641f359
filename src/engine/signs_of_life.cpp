#include "engine/signs_of_life.h"

#include <chrono>

#include "chronos/base/activity.h"

namespace chronos::engine {
namespace {

constexpr std::chrono::seconds kPause(1);

}  // namespace

SignsOfLife::SignsOfLife(Channel& channel) : channel_(channel) {
    // Also says that there will be more: of an engine that never does, none is expected.
    channel_.send(control::Message("alive"));
    thread_ = std::thread([this] { run(); });
}

SignsOfLife::~SignsOfLife() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void SignsOfLife::run() {
    std::uint64_t told_of = Activity::count();
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, kPause, [this] { return ending_; })) {
        const std::uint64_t count = Activity::count();
        if (count == told_of && !Activity::in_long_call()) continue;
        told_of = count;
        lock.unlock();
        channel_.send(control::Message("alive"));
        lock.lock();
    }
}

}  // namespace chronos::engine
