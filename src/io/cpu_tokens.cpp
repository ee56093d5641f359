#include "chronos/io/cpu_tokens.h"

#include <utility>

namespace chronos::io {
namespace {

thread_local CpuTokens* held = nullptr;
thread_local std::chrono::nanoseconds waited_here{0};

}  // namespace

CpuTokens* CpuTokens::of_thread() {
    return held;
}

std::chrono::nanoseconds CpuTokens::waited() {
    return waited_here;
}

void CpuTokens::yield() {
    CpuTokens* const tokens = held;
    if (tokens == nullptr || tokens->returning_.load(std::memory_order_relaxed) == 0) return;
    tokens->give_back();
    tokens->take();
}

template <class Condition>
void CpuTokens::wait(std::condition_variable& freed, std::unique_lock<std::mutex>& lock,
                     Condition condition) {
    if (condition()) return;
    const auto begin = std::chrono::steady_clock::now();
    freed.wait(lock, condition);
    waited_here += std::chrono::steady_clock::now() - begin;
}

void CpuTokens::take() {
    std::unique_lock lock(mutex_);
    wait(freed_, lock, [&] { return free_ > 0 && returning_ == 0; });
    --free_;
    wake_next();
}

void CpuTokens::take_again() {
    std::unique_lock lock(mutex_);
    ++returning_;
    wait(freed_for_returning_, lock, [&] { return free_ > 0; });
    --returning_;
    --free_;
    wake_next();
}

void CpuTokens::give_back() {
    const std::lock_guard lock(mutex_);
    ++free_;
    wake_next();
}

void CpuTokens::wake_next() {
    if (free_ == 0) return;
    (returning_ > 0 ? freed_for_returning_ : freed_).notify_one();
}

TokenScope::TokenScope(CpuTokens* tokens) : tokens_(tokens), before_(held) {
    if (tokens_ == nullptr) return;
    tokens_->take();
    held = tokens_;
}

TokenScope::~TokenScope() {
    if (tokens_ == nullptr) return;
    held = before_;
    tokens_->give_back();
}

WaitScope::WaitScope() : tokens_(std::exchange(held, nullptr)) {
    if (tokens_ != nullptr) tokens_->give_back();
}

WaitScope::~WaitScope() {
    if (tokens_ == nullptr) return;
    tokens_->take_again();
    held = tokens_;
}

}  // namespace chronos::io
