#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "chronos/base/progress.h"

namespace chronos::present {

/// Shows how far a command is: on a terminal as one line that is rewritten, elsewhere as a log line
/// now and then. Nothing is shown of work that is over within a second.
///
/// Used under one lock by whoever reports and by whoever writes log lines: see ProgressBar::mutex
/// in the .cpp.
class ProgressBar {
public:
    using Clock = std::chrono::steady_clock;

    enum class Style { none, line, log };

    /// `width` in columns, for the line.
    ProgressBar(Style style, unsigned width) : style_(style), width_(width) {}

    /// What to write to the terminal, or to log, at that moment; nullopt for nothing.
    std::optional<std::string> update(const Progress& progress, Clock::time_point now);
    /// What takes the line off the terminal again; "" if there is none.
    std::string erase();
    Style style() const { return style_; }

private:
    std::string text(const Progress& progress, Clock::time_point now) const;

    Style style_;
    unsigned width_;
    bool visible_ = false;
    std::string phase_;
    Clock::time_point started_{};  ///< of the phase
    Clock::time_point shown_{};
    std::uint64_t bytes_at_start_ = 0;
};

/// "1h02m", "3m07s", "42s"
std::string format_duration(std::chrono::seconds duration);

}  // namespace chronos::present
