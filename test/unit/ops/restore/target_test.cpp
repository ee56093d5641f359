#include "ops/restore/target.h"

#include <ctime>

#include "result_matchers.h"

namespace chronos::ops::restore {
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
    for (const char* text :
         {"bogus", "", "1 ago", "ago", "1 fortnight ago", "-1 hour ago", "hour 1 ago", "2026-11-20",
          "99999999999 hours ago", "0026-11-20 08:11:30", "1000000 hours ago"})
        EXPECT_FALSE(parse_time_target(text, kNow)) << text;
}

RestoreRequest request_for_time(const std::string& text, const std::string& set = "") {
    RestoreRequest request;
    request.type = RecoveryType::time;
    request.target = text;
    request.set = set;
    return request;
}

// Whether a backup was named does not matter: what the server could not read, or would read as
// another moment, is found before anything is touched.
TEST_F(TimeTargetTest, WhatNobodyReadsTheSameWayIsRefused) {
    set_zone("Europe/Berlin");
    for (const char* text : {"2026-02-30 10:00:00",
                             "2026-11-20 08:11:30 EDT",
                             "2026-11-20 08:11:30 Europe/Berlin",
                             "yesterday noon",
                             "infinity",
                             "-infinity",
                             "epoch",
                             "today",
                             "2026-11-20 24:00:00",
                             "2026-11-20 23:59:60",
                             "2026-11-20 08:11:30 BC",
                             "26-11-20 08:11:30",
                             "2026-11-20 08:11:30+16",
                             "2026-11-20 08:11:30 +00 x",
                             "10000-01-01 00:00:00+00",
                             "2026-11-20 08:11",
                             "2026-11-20",
                             "20261120 081130",
                             "2026-13-01 00:00:00",
                             "2026-11-20 08:11:30.",
                             "2026-11-20 08:11:30 PM"}) {
        EXPECT_ERROR(ErrorKind::format, judge_time_target(request_for_time(text), kNow));
        EXPECT_ERROR(ErrorKind::option_invalid_value,
                     judge_time_target(request_for_time(text, "20261120-075745F"), kNow));
    }
}

TEST_F(TimeTargetTest, OffsetsAreKeptAndCoordinatedTimeIsKnownByName) {
    for (const auto& [text, expected] :
         {std::pair("2026-11-20 08:11:30+14", "2026-11-19 18:11:30+00"),
          std::pair("2026-11-20 08:11:30-12:30", "2026-11-20 20:41:30+00"),
          std::pair("2026-11-20 08:11:30 UTC", "2026-11-20 08:11:30+00"),
          std::pair("2026-11-20 08:11:30GMT", "2026-11-20 08:11:30+00"),
          std::pair("2026-11-20 08:11:30.1234567+00", "2026-11-20 08:11:30.123456+00")}) {
        const auto target = judge_time_target(request_for_time(text), kNow);
        ASSERT_OK(target);
        EXPECT_EQ(format_instant(target->instant_us), expected) << text;
        const auto written = parse_time_target(target->setting, kNow);
        ASSERT_TRUE(written);
        EXPECT_EQ(written->instant_us, target->instant_us);
    }
}

TEST_F(TimeTargetTest, AZoneThatIsNotKnownIsNotTakenForCoordinatedTime) {
    for (const char* zone :
         {"Europe/Berln", "Europe", "nonsense", ":Mars/Phobos", "/nowhere", "E1"}) {
        set_zone(zone);
        const auto judged = judge_time_target(request_for_time("2026-11-20 08:11:30"), kNow);
        EXPECT_ERROR(ErrorKind::option_invalid_value, judged);
        EXPECT_NE(judged.error().message().find(zone), std::string::npos);
        EXPECT_OK(judge_time_target(request_for_time("2026-11-20 08:11:30+01"), kNow));
        EXPECT_OK(judge_time_target(request_for_time("1 hour ago"), kNow));
    }
    for (const char* zone : {"", "UTC", "Europe/Berlin", ":Europe/Berlin", "EST5EDT",
                             "<+0330>-3:30", "JST-9", "CET-1CEST,M3.5.0,M10.5.0/3", "UTC0"}) {
        set_zone(zone);
        EXPECT_OK(judge_time_target(request_for_time("2026-11-20 08:11:30"), kNow));
    }
}

// A server compares the lower half of it alone.
TEST(XidTarget, OfAnotherEpochIsNotThatTransaction) {
    constexpr std::uint64_t kEpoch = std::uint64_t{1} << 32;
    constexpr std::uint64_t kWal = std::uint64_t{1} << 30;
    const std::uint64_t next = 2 * kEpoch + 5000;
    for (const std::uint64_t xid : {std::uint64_t{700}, std::uint64_t{4000000000}, next, next - 100,
                                    next + 100000, 2 * kEpoch - 7})
        EXPECT_OK(judge_xid_epoch(xid, next, kWal));
    EXPECT_OK(judge_xid_epoch(kEpoch + 700, 0, kWal));
    for (const std::uint64_t xid : {kEpoch + 5100, 3 * kEpoch + 5100, kEpoch * 9 + 5100}) {
        const auto judged = judge_xid_epoch(xid, next, kWal);
        EXPECT_ERROR(ErrorKind::backup_set_invalid, judged);
        EXPECT_NE(judged.error().hint().find(std::to_string(2 * kEpoch + 5100)), std::string::npos)
            << judged.error().text();
    }
    const auto first = judge_xid_epoch(kEpoch + 800, 760, kWal);
    EXPECT_ERROR(ErrorKind::backup_set_invalid, first);
    EXPECT_NE(first.error().hint().find("transaction 800:"), std::string::npos);
    // Right behind the beginning of an epoch, one that began before it.
    const auto older = judge_xid_epoch(3 * kEpoch - 9, 2 * kEpoch + 3, kWal);
    EXPECT_ERROR(ErrorKind::backup_set_invalid, older);
    EXPECT_NE(older.error().hint().find(std::to_string(2 * kEpoch - 9)), std::string::npos);
}

TEST_F(TimeTargetTest, AnHourThatIsThereTwiceOrNeverIsNotGuessed) {
    set_zone("Europe/Berlin");
    const auto twice = judge_time_target(request_for_time("2026-10-25 02:30:00.5"), kNow);
    EXPECT_ERROR(ErrorKind::option_invalid_value, twice);
    EXPECT_NE(twice.error().text().find("2026-10-25 00:30:00.5+00"), std::string::npos);
    EXPECT_NE(twice.error().text().find("2026-10-25 01:30:00.5+00"), std::string::npos);
    EXPECT_ERROR(ErrorKind::option_invalid_value,
                 judge_time_target(request_for_time("2026-03-29 02:30:00"), kNow));
    EXPECT_OK(judge_time_target(request_for_time("2026-03-29 03:00:00"), kNow));
    EXPECT_OK(judge_time_target(request_for_time("2026-03-29 01:59:59"), kNow));
    EXPECT_OK(judge_time_target(request_for_time("2026-10-25 03:00:00"), kNow));
    EXPECT_OK(judge_time_target(request_for_time("2026-10-25 02:30:00+01"), kNow));
    set_zone("Australia/Lord_Howe");  // half an hour
    EXPECT_ERROR(ErrorKind::option_invalid_value,
                 judge_time_target(request_for_time("2026-04-05 01:45:00"), kNow));
    EXPECT_OK(judge_time_target(request_for_time("2026-04-05 02:00:00"), kNow));
    set_zone("UTC");
    EXPECT_OK(judge_time_target(request_for_time("2026-10-25 02:30:00"), kNow));
}

TEST_F(TimeTargetTest, ATimeOnADayThatAZoneHasSkippedDidNotExistThere) {
    for (const auto& [zone, time] : {std::pair("Pacific/Apia", "2011-12-30 12:00:00"),
                                     {"Pacific/Apia", "2011-12-30 00:00:00"},
                                     {"Pacific/Apia", "2011-12-30 23:59:59"},
                                     {"America/Sao_Paulo", "2018-11-04 00:30:00"}}) {
        set_zone(zone);
        const auto judged = judge_time_target(request_for_time(time), kNow);
        EXPECT_ERROR(ErrorKind::option_invalid_value, judged);
        EXPECT_NE(judged.error().text().find("did not exist here"), std::string::npos)
            << judged.error().text();
    }
    set_zone("Pacific/Apia");
    EXPECT_OK(judge_time_target(request_for_time("2011-12-29 23:59:59"), kNow));
    EXPECT_OK(judge_time_target(request_for_time("2011-12-31 00:00:00"), kNow));
}

TEST(RestoreRequestCheck, TransactionIdsAreThoseThatPostgresReads) {
    RestoreRequest request;
    request.type = RecoveryType::xid;
    for (const char* text : {"3", "4711", "4294967295", "4294967299", "18446744073709551615"}) {
        request.target = text;
        EXPECT_OK(check_restore_request(request));
    }
    for (const char* text : {"abc", "-1", "0", "1", "2", "4294967296", "18446744073709551616",
                             "010", "0x10", "7 ", " 7", "7x", "+7", "1e3"}) {
        request.target = text;
        EXPECT_ERROR(ErrorKind::option_invalid_value, check_restore_request(request));
    }
}

TEST(RestoreRequestCheck, NamesFitIntoTheRecordOfARestorePoint) {
    RestoreRequest request;
    request.type = RecoveryType::name;
    request.target = std::string(63, 'n');
    EXPECT_OK(check_restore_request(request));
    request.target += "n";
    EXPECT_ERROR(ErrorKind::option_invalid_value, check_restore_request(request));
    request.target = std::string("a\0b", 3);
    EXPECT_ERROR(ErrorKind::option_invalid_value, check_restore_request(request));
}

TEST(RestoreRequestCheck, TimelinesAreNumbersFromOneOn) {
    RestoreRequest request;
    for (const char* text : {"current", "latest", "1", "17", "0x2", "0xA", "4294967295"}) {
        request.target_timeline = text;
        EXPECT_OK(check_restore_request(request));
    }
    for (const char* text : {"0", "0x", "0x0", "-1", "010", "4294967296", "Latest", "2 ", "two"}) {
        request.target_timeline = text;
        EXPECT_ERROR(ErrorKind::db_mismatch, check_restore_request(request));
        RestoreRequest option;
        option.recovery_options["recovery_target_timeline"] = text;
        EXPECT_ERROR(ErrorKind::db_mismatch, check_restore_request(option));
    }
}

// The backup and the WAL are chosen by the target, so that it must be known as one.
TEST(RestoreRequestCheck, RecoveryOptionsAreNoSecondWayToSetATarget) {
    for (const char* name : {"recovery_target", "recovery-target-time", "Recovery_Target_XID",
                             "recovery_target_lsn", "recovery_target_name"}) {
        RestoreRequest request;
        request.recovery_options[name] = "x";
        EXPECT_ERROR(ErrorKind::option_invalid, check_restore_request(request));
    }
    for (const char* name : {"", "a b", "x = 'y'\nz", "1x", "x'", "Restore_Command"}) {
        RestoreRequest request;
        request.recovery_options[name] = "x";
        EXPECT_ERROR(ErrorKind::option_invalid_value, check_restore_request(request));
    }
    RestoreRequest request;
    request.recovery_options["recovery_target_action"] = "sleep";
    EXPECT_ERROR(ErrorKind::option_invalid_value, check_restore_request(request));
    request.recovery_options["recovery_target_action"] = "promote";
    EXPECT_OK(check_restore_request(request));
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
}  // namespace chronos::ops::restore
