#include "chronos/control/cron.h"

#include <gmock/gmock.h>
#include <time.h>

#include <string>
#include <vector>

#include "result_matchers.h"

namespace chronos::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// The wall clocks of a zone: offsets from UTC in minutes, each from a time on.
struct Change {
    std::int64_t from;
    int offset_minutes;
};
class Zone {
public:
    explicit Zone(std::vector<Change> changes) : changes_(std::move(changes)) {}
    WallTime operator()(std::int64_t time) const {
        int offset = changes_.front().offset_minutes;
        for (const Change& change : changes_)
            if (time >= change.from) offset = change.offset_minutes;
        const time_t shifted = time + offset * 60;
        tm parts = {};
        gmtime_r(&shifted, &parts);
        return {parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                parts.tm_hour,        parts.tm_min,     parts.tm_wday};
    }

private:
    std::vector<Change> changes_;
};

/// "2026-03-29 01:00" of UTC.
std::int64_t utc(const char* text) {
    tm parts = {};
    EXPECT_NE(strptime(text, "%Y-%m-%d %H:%M", &parts), nullptr) << text;
    return timegm(&parts);
}

std::string shown(std::int64_t time) {
    const time_t value = time;
    tm parts = {};
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%d %H:%M", gmtime_r(&value, &parts));
    return text;
}

Zone greenwich() {
    return Zone({{0, 0}});
}
/// Clocks go from 02:00 to 03:00 at 2026-03-29 01:00 UTC, and back at 2026-10-25 01:00 UTC.
Zone berlin() {
    return Zone({{0, 60}, {utc("2026-03-29 01:00"), 120}, {utc("2026-10-25 01:00"), 60}});
}

/// The next `count` times after `from`, in UTC.
std::vector<std::string> times(const char* expression, const char* from, std::size_t count,
                               const Zone& zone = greenwich()) {
    const auto cron = Cron::parse(expression);
    EXPECT_OK(cron);
    std::vector<std::string> result;
    std::int64_t at = utc(from);
    while (cron && result.size() < count) {
        const auto next = cron->next_after(at, zone);
        if (!next) break;
        at = *next;
        result.push_back(shown(at));
    }
    return result;
}

TEST(Cron, EveryMinuteIsTheNextOne) {
    EXPECT_THAT(times("* * * * *", "2026-11-20 07:57", 2),
                ElementsAre("2026-11-20 07:58", "2026-11-20 07:59"));
    const auto cron = Cron::parse("* * * * *");
    ASSERT_OK(cron);
    EXPECT_EQ(cron->next_after(utc("2026-11-20 07:57") + 59, greenwich()), utc("2026-11-20 07:58"));
    EXPECT_EQ(cron->next_after(-30, greenwich()), 0) << "also before 1970";
}

TEST(Cron, ListsRangesStepsAndNames) {
    EXPECT_THAT(times("0 5,11,17,23 * * *", "2026-11-20 11:00", 4),
                ElementsAre("2026-11-20 17:00", "2026-11-20 23:00", "2026-11-21 05:00",
                            "2026-11-21 11:00"));
    EXPECT_THAT(times("0 */6 * * *", "2026-11-20 01:00", 3),
                ElementsAre("2026-11-20 06:00", "2026-11-20 12:00", "2026-11-20 18:00"));
    EXPECT_THAT(times("10-30/10,45 3 * * *", "2026-11-20 00:00", 4),
                ElementsAre("2026-11-20 03:10", "2026-11-20 03:20", "2026-11-20 03:30",
                            "2026-11-20 03:45"));
    EXPECT_THAT(times("5/20 0 * * *", "2026-11-20 00:00", 3),
                ElementsAre("2026-11-20 00:05", "2026-11-20 00:25", "2026-11-20 00:45"));
    EXPECT_THAT(times("0 2 1 JAN,jul *", "2026-11-20 00:00", 2),
                ElementsAre("2027-01-01 02:00", "2027-07-01 02:00"));
    EXPECT_THAT(times("0 2 * * mon-wed", "2026-11-20 00:00", 4),  // a Friday
                ElementsAre("2026-11-23 02:00", "2026-11-24 02:00", "2026-11-25 02:00",
                            "2026-11-30 02:00"));
}

TEST(Cron, SundayIsZeroSevenAndTheEndOfAWeek) {
    for (const char* expression : {"0 2 * * 0", "0 2 * * 7", "0 2 * * Sun", "0 2 * * sun-0"})
        EXPECT_THAT(times(expression, "2026-11-20 00:00", 2),
                    ElementsAre("2026-11-22 02:00", "2026-11-29 02:00"))
            << expression;
    for (const char* expression : {"0 2 * * 6-7", "0 2 * * sat-sun"})
        EXPECT_THAT(times(expression, "2026-11-22 12:00", 2),
                    ElementsAre("2026-11-28 02:00", "2026-11-29 02:00"))
            << expression;
}

TEST(Cron, ShorthandsMeanWhatCrontabSays) {
    EXPECT_THAT(times("@hourly", "2026-11-20 07:57", 1), ElementsAre("2026-11-20 08:00"));
    EXPECT_THAT(times("@daily", "2026-11-20 07:57", 1), ElementsAre("2026-11-21 00:00"));
    EXPECT_THAT(times("@midnight", "2026-11-20 07:57", 1), ElementsAre("2026-11-21 00:00"));
    EXPECT_THAT(times("@Weekly", "2026-11-20 07:57", 1), ElementsAre("2026-11-22 00:00"));
    EXPECT_THAT(times("@monthly", "2026-11-20 07:57", 1), ElementsAre("2026-12-01 00:00"));
    EXPECT_THAT(times("@yearly", "2026-11-20 07:57", 1), ElementsAre("2027-01-01 00:00"));
    EXPECT_THAT(times("@annually", "2026-11-20 07:57", 1), ElementsAre("2027-01-01 00:00"));
}

// The surprise of cron: restricted day fields are joined by "or", unless one begins with a star.
TEST(Cron, DayFieldsAreJoinedAsInCron) {
    EXPECT_THAT(times("0 0 13 * fri", "2026-11-01 00:00", 5),
                ElementsAre("2026-11-06 00:00", "2026-11-13 00:00", "2026-11-20 00:00",
                            "2026-11-27 00:00", "2026-12-04 00:00"));
    EXPECT_THAT(times("0 0 13 * *", "2026-11-01 00:00", 2),
                ElementsAre("2026-11-13 00:00", "2026-12-13 00:00"));
    EXPECT_THAT(times("0 0 */2 * fri", "2026-11-01 00:00", 3),
                ElementsAre("2026-11-13 00:00", "2026-11-27 00:00", "2026-12-11 00:00"));
}

TEST(Cron, DaysThatFewMonthsHave) {
    EXPECT_THAT(times("0 0 31 * *", "2026-11-01 00:00", 3),
                ElementsAre("2026-12-31 00:00", "2027-01-31 00:00", "2027-03-31 00:00"));
    EXPECT_THAT(times("0 0 29 2 *", "2026-11-01 00:00", 1), ElementsAre("2028-02-29 00:00"));
    // 2100 is no leap year.
    EXPECT_THAT(times("0 0 29 2 *", "2096-03-01 00:00", 1), ElementsAre("2104-02-29 00:00"));
}

TEST(Cron, WhatIsNoExpressionIsRefused) {
    for (const char* text : {"",
                             " ",
                             "0 0 * *",
                             "0 0 0 * * *",
                             "60 * * * *",
                             "* 24 * * *",
                             "* * 0 * *",
                             "* * 32 * *",
                             "* * * 0 *",
                             "* * * 13 *",
                             "* * * * 8",
                             "*/0 * * * *",
                             "*/60 * * * *",
                             "5-1 * * * *",
                             "1,,2 * * * *",
                             "1- * * * *",
                             "-1 * * * *",
                             "1/ * * * *",
                             "a * * * *",
                             "* * * * monday",
                             "* * * jan-xyz *",
                             "0 0 L * *",
                             "0 0 ? * *",
                             "0x1 * * * *",
                             "+1 * * * *",
                             "001 * * * *",
                             "@reboot",
                             "@",
                             "@every 5m",
                             "1 2 3 4 5;6",
                             "*-5 * * * *",
                             "99999999999999999999 * * * *"}) {
        SCOPED_TRACE(text);
        EXPECT_ERROR(ErrorKind::option_invalid_value, Cron::parse(text));
    }
    for (const char* text : {"0 0 30 2 *", "0 0 31 apr,jun *"}) {
        SCOPED_TRACE(text);
        const auto cron = Cron::parse(text);
        EXPECT_ERROR(ErrorKind::option_invalid_value, cron);
        EXPECT_THAT(cron.error().message(), HasSubstr("none of the months"));
    }
    const auto cron = Cron::parse("0 25 * * *");
    EXPECT_THAT(cron.error().message(), HasSubstr("\"25\" is not valid as hour"));
}

TEST(Cron, TimeOfDayThatIsSkippedComesAfterTheGap) {
    EXPECT_THAT(times("30 2 * * *", "2026-03-27 12:00", 3, berlin()),
                ElementsAre("2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"));
    // Several in one gap are one, and one that was due at the end of it anyway stays one.
    EXPECT_THAT(times("0,20,40 2,3 29 3 *", "2026-03-28 12:00", 4, berlin()),
                ElementsAre("2026-03-29 01:00", "2026-03-29 01:20", "2026-03-29 01:40",
                            "2027-03-29 01:00"));
    // The whole gap belongs to another day of the week.
    EXPECT_THAT(times("30 2 * * mon", "2026-03-28 12:00", 1, berlin()),
                ElementsAre("2026-03-30 00:30"));
}

TEST(Cron, TimeOfDayThatComesTwiceHappensOnce) {
    EXPECT_THAT(times("30 2 * * *", "2026-10-24 12:00", 2, berlin()),
                ElementsAre("2026-10-25 00:30", "2026-10-26 01:30"));
    EXPECT_THAT(times("0 2,3 * * *", "2026-10-24 12:00", 3, berlin()),
                ElementsAre("2026-10-25 00:00", "2026-10-25 02:00", "2026-10-26 01:00"));
}

TEST(Cron, IntervalsFollowTheClock) {
    EXPECT_THAT(times("30 * * * *", "2026-03-29 00:00", 3, berlin()),
                ElementsAre("2026-03-29 00:30", "2026-03-29 01:30", "2026-03-29 02:30"));
    EXPECT_THAT(times("30 * * * *", "2026-10-25 00:00", 3, berlin()),
                ElementsAre("2026-10-25 00:30", "2026-10-25 01:30", "2026-10-25 02:30"));
    EXPECT_THAT(times("0 */6 * * *", "2026-10-24 22:00", 3, berlin()),
                ElementsAre("2026-10-25 05:00", "2026-10-25 11:00", "2026-10-25 17:00"));
}

TEST(Cron, GapAtMidnightAndADayThatNeverWas) {
    // Sao Paulo, 2018-11-04: 00:00 became 01:00.
    const Zone sao_paulo({{0, -180}, {utc("2018-11-04 03:00"), -120}});
    EXPECT_THAT(times("30 0 4 11 *", "2018-10-01 00:00", 1, sao_paulo),
                ElementsAre("2018-11-04 03:00"));
    EXPECT_THAT(times("0 0 * * *", "2018-11-03 12:00", 2, sao_paulo),
                ElementsAre("2018-11-04 03:00", "2018-11-05 02:00"));
    // Apia, 2011-12-30 was left out.
    const Zone apia({{0, -600}, {utc("2011-12-30 10:00"), 840}});
    EXPECT_THAT(times("0 12 30 12 *", "2011-12-01 00:00", 1, apia),
                ElementsAre("2011-12-30 10:00"));
    EXPECT_THAT(times("0 12 * * *", "2011-12-29 00:00", 3, apia),
                ElementsAre("2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00"));
}

// The search jumps over days; from wherever it starts, it must find the same.
TEST(Cron, JumpsMissNothing) {
    for (const char* expression : {"17 3 * * 1,4", "0 0 1 * *", "*/7 22 28-31 * *", "30 2 29 3 *",
                                   "30 2 * 10 sun", "59 23 31 12 *"}) {
        SCOPED_TRACE(expression);
        const auto cron = Cron::parse(expression);
        ASSERT_OK(cron);
        const std::int64_t begin = utc("2026-01-01 00:00");
        std::int64_t expected = *cron->next_after(begin, berlin());
        for (std::int64_t at = begin; at < utc("2027-01-01 00:00"); at += 7 * 3600 + 60) {
            if (at >= expected) expected = *cron->next_after(at, berlin());
            ASSERT_EQ(cron->next_after(at, berlin()), expected) << shown(at);
        }
    }
}

}  // namespace
}  // namespace chronos::control
