#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace chronos {

/// Whether the work of this process goes on: bytes and names that move, answers that arrive, and
/// waits that end by themselves. Who has done a piece of work says so where it is done, so that one
/// hanging call, of whatever file system, is silence. Any thread.
class Activity {
public:
    /// A piece of work is done, or a wait with a deadline has looked again.
    static void note() noexcept;
    /// Changes whenever something has been noted.
    static std::uint64_t count() noexcept;
    /// A call is under way that may take long and tells nothing meanwhile (LongCall).
    static bool in_long_call() noexcept;

    /// What this thread does is no proof: it watches, or renews a lease, while the work may hang.
    class Quiet {
    public:
        Quiet() noexcept;
        ~Quiet();
        Quiet(const Quiet&) = delete;
        Quiet& operator=(const Quiet&) = delete;
    };

    /// While it lives, and for kLongCallMax at most, silence is no sign of standing still: a call
    /// that hands everything written to the device, or removes a whole tree.
    class LongCall {
    public:
        LongCall() noexcept;
        ~LongCall();
        LongCall(const LongCall&) = delete;
        LongCall& operator=(const LongCall&) = delete;
    };
    static constexpr std::chrono::minutes kLongCallMax{30};
};

}  // namespace chronos
