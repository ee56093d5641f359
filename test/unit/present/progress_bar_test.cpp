#include "chronos/present/progress_bar.h"

#include <gmock/gmock.h>

namespace chronos::present {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::MatchesRegex;

constexpr std::uint64_t kMiB = 1 << 20;

Progress at(std::uint64_t done_mib) {
    return {.phase = "copy",
            .bytes_total = 100 * kMiB,
            .bytes_done = done_mib * kMiB,
            .files_total = 4,
            .files_done = 1};
}

const ProgressBar::Clock::time_point kStart{1h};

TEST(ProgressBar, SaysHowMuchHowFastAndHowLong) {
    ProgressBar bar(ProgressBar::Style::line, 120);
    bar.update(at(0), kStart);
    const auto text = bar.update(at(25), kStart + 5s);
    ASSERT_TRUE(text);
    EXPECT_THAT(*text, HasSubstr("copy  25.0% 25MB of 100MB, 1/4 files, 5MB/s, 15s left"));
    EXPECT_THAT(*text, HasSubstr("[#######"));
}

TEST(ProgressBar, FitsTheTerminal) {
    for (const unsigned width : {1u, 10u, 20u, 60u, 75u, 80u, 200u}) {
        ProgressBar bar(ProgressBar::Style::line, width);
        bar.update(at(0), kStart);
        const auto text = bar.update(at(99), kStart + 5s);
        ASSERT_TRUE(text);
        // "\r" before and "\x1b[K" behind take no column.
        EXPECT_LE(text->size() - 4, std::max(width, 1u)) << width;
    }
}

TEST(ProgressBar, ShortWorkShowsNothing) {
    for (const auto style : {ProgressBar::Style::line, ProgressBar::Style::log}) {
        ProgressBar bar(style, 80);
        EXPECT_FALSE(bar.update(at(0), kStart));
        EXPECT_FALSE(bar.update(at(50), kStart + 900ms));
        EXPECT_EQ(bar.erase(), "");
    }
}

TEST(ProgressBar, LinesOfALogAreTenSecondsApart) {
    ProgressBar bar(ProgressBar::Style::log, 80);
    int lines = 0;
    for (int tick = 0; tick <= 250; ++tick)
        if (bar.update(at(static_cast<std::uint64_t>(tick) / 3), kStart + tick * 100ms)) ++lines;
    EXPECT_EQ(lines, 3);
}

TEST(ProgressBar, IsErasedOnce) {
    ProgressBar bar(ProgressBar::Style::line, 80);
    bar.update(at(0), kStart);
    bar.update(at(1), kStart + 5s);
    EXPECT_EQ(bar.erase(), "\r\x1b[K");
    EXPECT_EQ(bar.erase(), "");
}

TEST(ProgressBar, RateIsThatOfThePhase) {
    ProgressBar bar(ProgressBar::Style::log, 80);
    bar.update({.phase = "list"}, kStart);
    bar.update(at(50), kStart + 100s);
    const auto text = bar.update(at(60), kStart + 110s);
    ASSERT_TRUE(text);
    EXPECT_THAT(*text, HasSubstr("1MB/s"));
}

TEST(ProgressBar, SurvivesWhatCannotBe) {
    ProgressBar bar(ProgressBar::Style::line, 120);
    bar.update({.phase = "copy", .bytes_total = 10, .bytes_done = 5}, kStart);
    const auto text =
        bar.update({.phase = "copy", .bytes_total = 10, .bytes_done = 20}, kStart + 5s);
    ASSERT_TRUE(text);
    EXPECT_THAT(*text, HasSubstr("100.0%"));
}

TEST(ProgressBar, OffShowsNothing) {
    ProgressBar bar(ProgressBar::Style::none, 80);
    bar.update(at(0), kStart);
    EXPECT_FALSE(bar.update(at(50), kStart + 60s));
}

TEST(Duration, IsShort) {
    EXPECT_EQ(format_duration(42s), "42s");
    EXPECT_EQ(format_duration(187s), "3m07s");
    EXPECT_EQ(format_duration(3720s), "1h02m");
}

}  // namespace
}  // namespace chronos::present
