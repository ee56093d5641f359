#include "chronos/db/server.h"

#include <gmock/gmock.h>

#include "fake_connection.h"
#include "result_matchers.h"

namespace chronos::db {
namespace {

using test::FakeConnection;
using test::FakeFacts;

Result<ServerFacts> facts_of(const FakeFacts& fake) {
    FakeConnection connection;
    connection.on(FakeFacts::kQuestion, fake.rows());
    return read_server_facts(connection);
}

TEST(ServerFacts, AreReadFromOneRow) {
    const auto facts = facts_of({});
    ASSERT_OK(facts);
    EXPECT_EQ(facts->major(), 15u);
    EXPECT_EQ(facts->system_id, 7710159678555610611u);
    EXPECT_FALSE(facts->in_recovery);
    EXPECT_TRUE(facts->data_checksums);
    EXPECT_EQ(facts->archive_timeout_s, 60u);
    EXPECT_EQ(facts->checkpoint_timeout_s, 300u);
}

TEST(ServerFacts, AnAnswerOfAnotherShapeIsAnError) {
    FakeConnection connection;
    connection.on(FakeFacts::kQuestion, {{"150007", "/srv/data"}});
    EXPECT_ERROR(ErrorKind::db_query, read_server_facts(connection));
    FakeFacts fake;
    fake.system_id = "-1";
    EXPECT_ERROR(ErrorKind::db_query, facts_of(fake));
}

TEST(CheckArchiving, AcceptsOurModuleWithOrWithoutItsPath) {
    for (const char* library :
         {"chronos_backup", "$libdir/chronos_backup", "/x/chronos_backup.so"}) {
        SCOPED_TRACE(library);
        FakeFacts fake;
        fake.archive_library = library;
        EXPECT_OK(check_archiving(*facts_of(fake), true));
    }
}

TEST(CheckArchiving, AcceptsCommandsThatNameEitherTool) {
    FakeFacts fake;
    fake.archive_library = "";
    for (const char* command :
         {"pgbackrest --stanza=main archive-push %p", "/usr/bin/chronos archive-push %p"}) {
        fake.archive_command = command;
        EXPECT_OK(check_archiving(*facts_of(fake), true));
    }
    fake.archive_command = "cp %p /mnt/archive/%f";
    EXPECT_ERROR(ErrorKind::archive_command_invalid, check_archiving(*facts_of(fake), true));
}

// The server ignores archive_command while archive_library is set: a good command proves nothing.
TEST(CheckArchiving, AnotherModuleIsAnErrorWhateverTheCommandSays) {
    FakeFacts fake;
    fake.archive_library = "basic_archive";
    fake.archive_command = "pgbackrest --stanza=main archive-push %p";
    EXPECT_ERROR(ErrorKind::archive_command_invalid, check_archiving(*facts_of(fake), true));
}

TEST(CheckArchiving, TellsOffFromAlways) {
    FakeFacts fake;
    fake.archive_mode = "off";
    EXPECT_ERROR(ErrorKind::archive_disabled, check_archiving(*facts_of(fake), true));
    fake.archive_mode = "always";
    EXPECT_ERROR(ErrorKind::feature_not_supported, check_archiving(*facts_of(fake), true));
    EXPECT_OK(check_archiving(*facts_of(fake), /*mode_check=*/false));
}

TEST(ServerTime, SplitsSecondsAndMilliseconds) {
    FakeConnection connection;
    connection.on("clock_timestamp", {{"1795161465987"}});
    const auto time = server_time(connection);
    ASSERT_OK(time);
    EXPECT_EQ(time->second, 1795161465);
    EXPECT_EQ(time->millisecond, 987u);
}

TEST(ListDatabases, KeepsNamesAsTheyAre) {
    FakeConnection connection;
    connection.on("pg_database", {{"a=b", "16384", "4"}, {"q\"uote", "16385", "4"}});
    const auto databases = list_databases(connection);
    ASSERT_OK(databases);
    ASSERT_EQ(databases->size(), 2u);
    EXPECT_EQ((*databases)[0].name, "a=b");
    EXPECT_EQ((*databases)[1].oid, 16385u);
    EXPECT_EQ((*databases)[1].last_system_oid, 4u);
}

TEST(ListDatabases, WorksWithoutTemplate0) {
    FakeConnection connection;
    connection.on("pg_database", {{"postgres", "5", std::nullopt}});
    const auto databases = list_databases(connection);
    ASSERT_OK(databases);
    EXPECT_EQ(databases->front().last_system_oid, 0u);
}

TEST(StartBackup, PassesLabelAndSpeedAsParameters) {
    FakeConnection connection;
    std::vector<std::string> seen;
    connection.on("pg_backup_start", [&](const auto& parameters) -> Result<Rows> {
        seen = parameters;
        return Rows{{"1A/2000028"}};
    });
    const auto lsn = start_backup(connection, "it's \"quoted\"", true);
    ASSERT_OK(lsn);
    EXPECT_EQ(lsn->str(), "1A/2000028");
    EXPECT_THAT(seen, testing::ElementsAre("it's \"quoted\"", "true"));
}

TEST(StopBackup, KeepsTheLabelByteForByte) {
    FakeConnection connection;
    const std::string label = "START WAL LOCATION: 0/2000028\nLABEL: x\n";
    connection.on("pg_backup_stop", {{"0/2000100", label, ""}});
    const auto stopped = stop_backup(connection);
    ASSERT_OK(stopped);
    EXPECT_EQ(stopped->backup_label, label);
    EXPECT_EQ(stopped->tablespace_map, "");
}

TEST(StopBackup, WithoutALabelThereIsNoBackup) {
    FakeConnection connection;
    connection.on("pg_backup_stop", {{"0/2000100", std::nullopt, ""}});
    EXPECT_ERROR(ErrorKind::db_query, stop_backup(connection));
}

// A restore point first: switching an untouched segment does nothing, and nothing is archived.
TEST(SwitchWal, WritesARestorePointFirst) {
    FakeConnection connection;
    connection.on("pg_create_restore_point", {{"0/3000100"}});
    connection.on("pg_switch_wal", {{"0/3000118"}});
    const auto end = switch_wal(connection, "chronos archive check");
    ASSERT_OK(end);
    EXPECT_EQ(end->str(), "0/3000118");
    ASSERT_EQ(connection.asked.size(), 2u);
    EXPECT_NE(connection.asked[0].find("restore_point"), std::string::npos);
}

}  // namespace
}  // namespace chronos::db
