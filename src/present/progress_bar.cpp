#include "chronos/present/progress_bar.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "chronos/base/text.h"

namespace chronos::present {
namespace {

using namespace std::chrono_literals;

constexpr auto kQuietAtFirst = 1s;
constexpr auto kBetweenFrames = 200ms;
constexpr auto kBetweenLogLines = 10s;
constexpr unsigned kBarWidthMax = 30;

std::string bar(double done, unsigned width) {
    const auto full = static_cast<std::size_t>(done * width);
    std::string text(full, '#');
    text.resize(width, '.');
    return "[" + text + "] ";
}

}  // namespace

std::string format_duration(std::chrono::seconds duration) {
    const long long total = duration.count();
    std::array<char, 32> text{};
    if (total >= 3600)
        std::snprintf(text.data(), text.size(), "%lldh%02lldm", total / 3600, total / 60 % 60);
    else if (total >= 60)
        std::snprintf(text.data(), text.size(), "%lldm%02llds", total / 60, total % 60);
    else
        std::snprintf(text.data(), text.size(), "%llds", total);
    return text.data();
}

std::string ProgressBar::text(const Progress& progress, Clock::time_point now) const {
    if (progress.bytes_total == 0) return progress.phase;
    const std::uint64_t done_bytes = std::min(progress.bytes_done, progress.bytes_total);
    const double done = static_cast<double>(done_bytes) / static_cast<double>(progress.bytes_total);
    const double seconds = std::chrono::duration<double>(now - started_).count();
    const std::uint64_t moved = done_bytes - std::min(bytes_at_start_, done_bytes);
    const double rate = seconds > 0 ? static_cast<double>(moved) / seconds : 0;
    std::array<char, 32> percent{};
    std::snprintf(percent.data(), percent.size(), "%5.1f%%", done * 100);
    std::string line = progress.phase + " " + percent.data() + " " + format_size(done_bytes) +
                       " of " + format_size(progress.bytes_total);
    if (progress.files_total != 0)
        line += ", " + std::to_string(progress.files_done) + "/" +
                std::to_string(progress.files_total) + " files";
    if (rate < 1) return line;
    const auto left = std::chrono::seconds(
        static_cast<long long>(static_cast<double>(progress.bytes_total - done_bytes) / rate));
    line += ", " + format_size(static_cast<std::uint64_t>(rate)) + "/s, " + format_duration(left) +
            " left";
    if (style_ != Style::line || line.size() + 16 > width_) return line;
    const unsigned room =
        std::min<unsigned>(kBarWidthMax, width_ - 5 - static_cast<unsigned>(line.size()));
    return bar(done, room) + line;
}

std::optional<std::string> ProgressBar::update(const Progress& progress, Clock::time_point now) {
    if (style_ == Style::none) return std::nullopt;
    if (progress.phase != phase_) {
        if (phase_.empty())
            shown_ = now - (style_ == Style::log ? kBetweenLogLines : 0s) + kQuietAtFirst;
        phase_ = progress.phase;
        started_ = now;
        bytes_at_start_ = progress.bytes_done;
    }
    const Clock::duration pause =
        style_ == Style::log ? Clock::duration(kBetweenLogLines) : Clock::duration(kBetweenFrames);
    if (now - shown_ < pause) return std::nullopt;
    shown_ = now;
    std::string line = text(progress, now);
    if (style_ == Style::log) return line;
    // The last column stays free: a terminal may wrap when it is written to.
    if (line.size() >= width_) line.resize(width_ > 0 ? width_ - 1 : 0);
    visible_ = true;
    return "\r" + line + "\x1b[K";
}

std::string ProgressBar::erase() {
    if (!visible_) return "";
    visible_ = false;
    return "\r\x1b[K";
}

}  // namespace chronos::present
