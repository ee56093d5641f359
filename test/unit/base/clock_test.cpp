#include "chronos/base/clock.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace chronos {
namespace {

class InZone {
public:
    explicit InZone(const char* zone) {
        setenv("TZ", zone, 1);
        tzset();
    }
    ~InZone() {
        unsetenv("TZ");
        tzset();
    }
};

TEST(LocalTime, PrintsMinutesOfTheZoneOnlyWhenThereAreAny) {
    {
        const InZone zone("UTC");
        EXPECT_EQ(format_local_time(1795161465), "2026-11-20 07:57:45+00");
        EXPECT_EQ(format_label_time(1795161465), "20261120-075745");
    }
    const InZone zone("Asia/Kolkata");
    EXPECT_EQ(format_local_time(1795161465), "2026-11-20 13:27:45+05:30");
}

TEST(ParseTime, AcceptsTheFormsPeopleWrite) {
    const InZone zone("UTC");
    const std::int64_t expected = 1795161465LL * 1000000;
    EXPECT_EQ(parse_time_us("2026-11-20 07:57:45"), expected);
    EXPECT_EQ(parse_time_us("2026-11-20T07:57:45Z"), expected);
    EXPECT_EQ(parse_time_us("2026-11-20T07:57:45+00:00"), expected);
    EXPECT_EQ(parse_time_us("2026-11-20 08:57:45+01"), expected);
    EXPECT_EQ(parse_time_us("2026-11-20 03:27:45-0430"), expected);
    EXPECT_EQ(parse_time_us("2026-11-20 07:57:45.25 +00"), expected + 250000);
}

TEST(ParseTime, WithoutAZoneMeansTheLocalOne) {
    const InZone zone("America/New_York");
    EXPECT_EQ(parse_time_us("2026-11-20 02:57:45"), 1795161465LL * 1000000);
}

// Clocks were set forward over midnight, or over the whole day: the date is one all the same.
TEST(ParseTime, ADateThatClocksHaveSkippedIsOne) {
    const InZone apia("Pacific/Apia");
    EXPECT_EQ(parse_time_us("2011-12-30 12:00:00"), 1325282400LL * 1000000);
    EXPECT_EQ(parse_time_us("2011-12-30 12:00:00Z"), 1325246400LL * 1000000);
    EXPECT_FALSE(parse_time_us("2011-11-31 12:00:00"));
    const InZone sao_paulo("America/Sao_Paulo");
    for (const char* before : {"2018-11-03 12:00:00", "2018-11-05 12:00:00"}) {
        EXPECT_TRUE(parse_time_us(before));
        EXPECT_EQ(parse_time_us("2018-11-04 00:30:00"), 1541302200LL * 1000000)
            << "whatever was asked before";
    }
}

TEST(ParseUnixTime, IsANumberOfSecondsUpToTheYear9999) {
    EXPECT_EQ(parse_unix_time("0"), 0);
    EXPECT_EQ(parse_unix_time("1795161465"), 1795161465);
    EXPECT_EQ(parse_unix_time("253402300799"), *parse_time_us("9999-12-31 23:59:59Z") / 1000000);
    for (const char* text : {"", "-1", "1 ", "1x", "253402300800", "9223372036854775808",
                             "18446744073709551615", "18446744073709551616"})
        EXPECT_EQ(parse_unix_time(text), std::nullopt) << text;
}

// A year of fewer digits, or of more, is another one to whoever it is told.
TEST(ParseTime, RefusesYearsThatAreNoneOfAnyCluster) {
    EXPECT_EQ(parse_time_us("1970-01-01 00:00:00Z"), 0);
    for (const char* text : {"0026-11-20 08:11:30Z", "1969-12-31 23:59:59Z",
                             "1970-01-01 00:00:00+01", "9999-12-31 23:59:59-01"})
        EXPECT_EQ(parse_time_us(text), std::nullopt) << text;
}

TEST(ParseTime, RefusesWhatIsNotATime) {
    for (const char* text :
         {"", "bogus", "2026-11-20", "2026-02-31 00:00:00", "2026-11-20 07:57:45x",
          "2026-11-20 25:00:00", "2026-11-20 07:57:45.", "2026-11-20 07:57:45+1"})
        EXPECT_EQ(parse_time_us(text), std::nullopt) << text;
}

}  // namespace
}  // namespace chronos
