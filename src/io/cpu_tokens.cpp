// Idea: threads are cheap and processors are not, so that the two are counted apart. A thread
// computes only while it holds one of `free_` tokens; for the length of a wait (WaitScope, deep in
// http) it gives its token back, and somebody else's computing goes on.
//
// Two queues in front of the tokens, and the one of those that return goes first:
//
//     begins -----> freed_ ----------------+
//                                          +--> token --> computes --> WaitScope --+
//     returns ----> freed_for_returning_ --+                                       |
//        ^------------------------------- the answer has come ---------------------+
//
// Invariant, under mutex_: tokens held + free_ is the count of the beginning; a thread of `freed_`
// takes none while `returning_` is not 0. Whoever changes free_ or returning_ calls wake_next()
// before it lets the mutex go, so that a free token and a thread that may have it never sleep side
// by side: each notify wakes one thread, and that one wakes the next if there is still something to
// have.
//
// What breaks without: (a) one queue - a thread whose answer lies there waits until a beginner has
// nothing left to compute, and the link idles for as long; (b) yield() taking the token back by
// take_again() - it would be a returning thread itself, and nobody would get in between; (c) a
// token that crosses threads - `held` is thread-local, since a helper (an upload beside its writer)
// computes at the same time as whom it helps.
#include "chronos/io/cpu_tokens.h"

#include <cassert>
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
    assert(free_ > 0);
    --free_;
    wake_next();
}

void CpuTokens::take_again() {
    std::unique_lock lock(mutex_);
    ++returning_;
    wait(freed_for_returning_, lock, [&] { return free_ > 0; });
    assert(returning_ > 0 && free_ > 0);
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
