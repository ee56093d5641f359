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

void CpuTokens::take() {
    std::unique_lock lock(mutex_);
    if (free_ == 0) {
        const auto begin = std::chrono::steady_clock::now();
        freed_.wait(lock, [&] { return free_ > 0; });
        waited_here += std::chrono::steady_clock::now() - begin;
    }
    --free_;
}

void CpuTokens::give_back() {
    {
        const std::lock_guard lock(mutex_);
        ++free_;
    }
    freed_.notify_one();
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
    tokens_->take();
    held = tokens_;
}

}  // namespace chronos::io
