#include "chronos/db/standby.h"

#include <gmock/gmock.h>

#include "chronos/db/conninfo.h"
#include "fake_connection.h"
#include "result_matchers.h"

namespace chronos::db {
namespace {

// What a standby streams by leads to its primary, as another kind of session.
TEST(Conninfo, LeavesOutWhatIsOfStreaming) {
    const auto parsed = parse_conninfo(
        "host=/srv/run port=5433 user=follower password='a b' application_name=two dbname=x"
        " options='-c search_path=y' sslmode=disable");
    ASSERT_OK(parsed);
    EXPECT_EQ(without_streaming(*parsed), (ConnectionParameters{{"host", "/srv/run"},
                                                                {"password", "a b"},
                                                                {"port", "5433"},
                                                                {"sslmode", "disable"},
                                                                {"user", "follower"}}));
    const auto bad = parse_conninfo("password=secret nonsense");
    EXPECT_ERROR(ErrorKind::option_invalid_value, bad);
    EXPECT_EQ(bad.error().text().find("secret"), std::string::npos);
}

// A standby asks it, by a connection string that may lead anywhere.
TEST(LeaveSegment, OnlyOfThePrimaryOfThisClusterAndOnlyIfItIsStillInIt) {
    constexpr std::uint64_t kSystem = 7710159678555610611;
    const std::string segment = "000000010000000000000003";
    test::FakeConnection server;
    server.on("pg_switch_wal", {{"0/4000000"}});
    server.on("pg_current_wal_insert_lsn", {{"000000010000000000000004"}});
    server.on("pg_is_in_recovery", {{"false", "7710159678555610611"}});
    EXPECT_OK(leave_segment(server, kSystem, segment));
    EXPECT_FALSE(server.was_asked("pg_switch_wal"));
    server.on("pg_current_wal_insert_lsn", {{segment}});
    EXPECT_ERROR(ErrorKind::db_mismatch, leave_segment(server, kSystem + 1, segment));
    EXPECT_FALSE(server.was_asked("pg_switch_wal"));
    EXPECT_OK(leave_segment(server, kSystem, segment));
    EXPECT_TRUE(server.was_asked("pg_switch_wal"));
    server.on("pg_is_in_recovery", {{"true", "7710159678555610611"}});
    EXPECT_ERROR(ErrorKind::db_mismatch, leave_segment(server, kSystem, segment));
}

}  // namespace
}  // namespace chronos::db
