#include "chronos/base/activity.h"

namespace chronos {
namespace {

std::atomic<std::uint64_t> noted{0};
std::atomic<int> long_calls{0};
/// When the last of them began, by a clock that nobody sets.
std::atomic<std::chrono::steady_clock::rep> long_call_began{0};
thread_local int quiet = 0;

}  // namespace

void Activity::note() noexcept {
    if (quiet == 0) noted.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t Activity::count() noexcept {
    return noted.load(std::memory_order_relaxed);
}

bool Activity::in_long_call() noexcept {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point began{Clock::duration(long_call_began.load(std::memory_order_relaxed))};
    return long_calls.load(std::memory_order_relaxed) > 0 && Clock::now() < began + kLongCallMax;
}

Activity::Quiet::Quiet() noexcept {
    ++quiet;
}

Activity::Quiet::~Quiet() {
    --quiet;
}

Activity::LongCall::LongCall() noexcept {
    if (quiet > 0) return;
    long_call_began.store(std::chrono::steady_clock::now().time_since_epoch().count(),
                          std::memory_order_relaxed);
    long_calls.fetch_add(1, std::memory_order_relaxed);
    note();
}

Activity::LongCall::~LongCall() {
    if (quiet > 0) return;
    long_calls.fetch_sub(1, std::memory_order_relaxed);
    note();
}

}  // namespace chronos
