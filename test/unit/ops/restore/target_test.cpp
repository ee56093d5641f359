#include "ops/restore/target.h"

#include <ctime>

#include "result_matchers.h"

namespace chronos::ops {
namespace {

constexpr UnixTime kNow = 1795165200;  // 2026-11-20 09:00:00 UTC

class TimeTargetTest : public testing::Test {
protected:
    void SetUp() override { set_zone("UTC"); }
    void TearDown() override { set_zone("UTC"); }
    static void set_zone(const char* zone) {
        setenv("TZ", zone, 1);
        tzset();
    }
};

TEST_F(TimeTargetTest, WithZoneIsWrittenAsGiven) {
    const auto target = parse_time_target("2026-11-20 08:11:30.5+02", kNow);
    ASSERT_TRUE(target);
    EXPECT_EQ(target->setting, "2026-11-20 08:11:30.5+02");
    EXPECT_EQ(format_instant(target->instant_us), "2026-11-20 06:11:30.5+00");
    const auto iso = parse_time_target("2026-11-20T08:11:30+00:00", kNow);
    ASSERT_TRUE(iso);
    EXPECT_EQ(iso->setting, "2026-11-20T08:11:30+00:00");
}

// PostgreSQL reads a text without a zone in its own setting TimeZone, which need not be ours.
TEST_F(TimeTargetTest, WithoutZoneGetsOne) {
    set_zone("Europe/Berlin");
    const auto target = parse_time_target("2026-11-20 09:11:30", kNow);
    ASSERT_TRUE(target);
    EXPECT_EQ(target->setting, "2026-11-20 08:11:30+00");
}

TEST_F(TimeTargetTest, RelativeTimesCountFromNow) {
    for (const auto& [text, expected] :
         {std::pair("1 hour ago", "2026-11-20 08:00:00+00"),
          std::pair("90 min ago", "2026-11-20 07:30:00+00"),
          std::pair("1 day 30 minutes ago", "2026-11-19 08:30:00+00"),
          std::pair("2 weeks ago", "2026-11-06 09:00:00+00"),
          std::pair("now", "2026-11-20 09:00:00+00")}) {
        const auto target = parse_time_target(text, kNow);
        ASSERT_TRUE(target) << text;
        EXPECT_EQ(target->setting, expected) << text;
    }
}

TEST_F(TimeTargetTest, OtherTextIsNoTime) {
    for (const char* text : {"bogus", "", "1 ago", "ago", "1 fortnight ago", "-1 hour ago",
                             "hour 1 ago", "2026-11-20", "99999999999 hours ago"})
        EXPECT_FALSE(parse_time_target(text, kNow)) << text;
}

TEST(RestoreRequestCheck, TargetGoesWithTypesThatHaveOne) {
    RestoreRequest request;
    EXPECT_OK(check_restore_request(request));
    request.type = RecoveryType::time;
    const auto missing = check_restore_request(request);
    EXPECT_ERROR(ErrorKind::option_required, missing);
    EXPECT_EQ(missing.error().message(), "restore command requires option: target");
    request.type = RecoveryType::immediate;
    request.target = "x";
    EXPECT_ERROR(ErrorKind::option_invalid, check_restore_request(request));
    request.type = RecoveryType::name;
    EXPECT_OK(check_restore_request(request));
    request.target_exclusive = true;
    EXPECT_ERROR(ErrorKind::option_invalid, check_restore_request(request));
}

TEST(RestoreRequestCheck, LsnMustBeOne) {
    RestoreRequest request;
    request.type = RecoveryType::lsn;
    request.target = "0/16B3748";
    EXPECT_OK(check_restore_request(request));
    request.target = "elephant";
    EXPECT_ERROR(ErrorKind::option_invalid_value, check_restore_request(request));
}

TEST(RestoreRequestCheck, SettingsOfARecoveryNeedOne) {
    RestoreRequest request;
    request.type = RecoveryType::none;
    request.recovery_options["primary_conninfo"] = "host=x";
    EXPECT_ERROR(ErrorKind::option_invalid, check_restore_request(request));
    request.recovery_options.clear();
    request.target_timeline = "2";
    EXPECT_ERROR(ErrorKind::option_invalid, check_restore_request(request));
    request.target_timeline.clear();
    request.target_action = TargetAction::promote;
    EXPECT_ERROR(ErrorKind::option_invalid, check_restore_request(request));
}

}  // namespace
}  // namespace chronos::ops
