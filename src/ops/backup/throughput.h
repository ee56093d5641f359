#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "chronos/base/progress.h"

namespace chronos::ops::backup {

using Seconds = std::chrono::duration<double>;

/// How long steps of a backup took that move no data, and the copy.
struct Waits {
    Seconds checkpoint{0};  ///< the start of the backup on the server
    Seconds copy{0};
    Seconds sync{0};  ///< what was copied becomes durable
    Seconds wal{0};   ///< segments arrive in the repository
};

/// Adds the time it lives to `total`.
class Stopwatch {
public:
    explicit Stopwatch(Seconds& total) : total_(total), begin_(Clock::now()) {}
    ~Stopwatch() { total_ += Clock::now() - begin_; }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

private:
    using Clock = std::chrono::steady_clock;
    Seconds& total_;
    Clock::time_point begin_;
};

/// One line: rates, what the threads were busy with, and what was waited for.
std::string throughput_text(std::uint64_t copied_bytes, const StageTimes& stages,
                            const Waits& waits);

}  // namespace chronos::ops::backup
