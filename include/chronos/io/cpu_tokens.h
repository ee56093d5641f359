#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace chronos::io {

/// How many threads may compute at once, apart from how many there are.
///
/// Over a distant link most of a thread's life is waiting for an answer. Enough threads keep the
/// link busy; they would also use more processors than the user allowed, so each holds a token
/// while it computes and gives it back for the length of a wait. Whoever waits for the network says
/// so with a WaitScope; the verbs above need not know. One that comes back from a wait goes before
/// those that begin, and long work lets it in between (yield()): an answer that lies there is a
/// link that stands idle.
class CpuTokens {
public:
    explicit CpuTokens(std::size_t count) : free_(count) {}
    CpuTokens(const CpuTokens&) = delete;
    CpuTokens& operator=(const CpuTokens&) = delete;

    /// The ones that the calling thread holds one of; nullptr if none. A thread that works for
    /// another (an upload beside its writer) takes its own from the same.
    static CpuTokens* of_thread();
    /// How long the calling thread has waited for tokens so far.
    static std::chrono::nanoseconds waited();

    /// Lets threads that come back from a wait go first. Cheap where there are none, and where the
    /// calling thread holds no token: to be called every millisecond or so of computing.
    static void yield();

private:
    friend class TokenScope;
    friend class WaitScope;
    void take();
    void take_again();
    template <class Condition>
    void wait(std::condition_variable& freed, std::unique_lock<std::mutex>& lock,
              Condition condition);
    void give_back();
    /// With the mutex held: wakes whoever may have a free token.
    void wake_next();

    std::mutex mutex_;
    std::condition_variable freed_;
    std::condition_variable freed_for_returning_;
    std::size_t free_;
    std::atomic<std::size_t> returning_{
        0};  ///< wait for a token after a wait; written under mutex_
};

/// Holds a token of `tokens` for the calling thread, waiting for one first; nullptr: does nothing.
class TokenScope {
public:
    explicit TokenScope(CpuTokens* tokens);
    ~TokenScope();
    TokenScope(const TokenScope&) = delete;
    TokenScope& operator=(const TokenScope&) = delete;

private:
    CpuTokens* tokens_;
    CpuTokens* before_;
};

/// While it lives the calling thread waits and holds no token; at its end it has one again, if it
/// had one before. Cheap where there are no tokens.
class WaitScope {
public:
    WaitScope();
    ~WaitScope();
    WaitScope(const WaitScope&) = delete;
    WaitScope& operator=(const WaitScope&) = delete;

private:
    CpuTokens* tokens_;
};

}  // namespace chronos::io
