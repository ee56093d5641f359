#include "ops/drill/server.h"

#include <gmock/gmock.h>

#include "result_matchers.h"

namespace chronos::ops::drill {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(DrillServer, KnowsTheVersionOfAProgramByWhatItSays) {
    EXPECT_EQ(version_of_output("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), "15");
    EXPECT_EQ(version_of_output("postgres (PostgreSQL) 18beta1\n"), "18");
    EXPECT_EQ(version_of_output("postgres (PostgreSQL) 9.6.24\n"), "9.6");
    EXPECT_EQ(version_of_output("psql (PostgreSQL) 15.20\n"), "");
    EXPECT_EQ(version_of_output(""), "");
}

/// The value that counts: the last one.
std::string setting_of(const std::string& settings, const std::string& name) {
    const std::size_t at = settings.rfind("\n" + name + " = ");
    if (at == std::string::npos) return "(none)";
    const std::size_t begin = at + name.size() + 4;
    return settings.substr(begin, settings.find('\n', begin) - begin);
}

DrillRequest plain_request() {
    DrillRequest request;
    request.port = 5432;
    return request;
}

TEST(DrillServer, ArchivesListensConnectsAndPreloadsNothing) {
    const std::string settings = server_settings(plain_request(), {"/scratch"}, {15, 7});
    EXPECT_EQ(setting_of(settings, "archive_mode"), "'off'");
    EXPECT_EQ(setting_of(settings, "listen_addresses"), "''");
    EXPECT_EQ(setting_of(settings, "shared_preload_libraries"), "''");
    EXPECT_EQ(setting_of(settings, "max_logical_replication_workers"), "'0'");
    EXPECT_EQ(setting_of(settings, "autovacuum"), "'off'");
    EXPECT_EQ(setting_of(settings, "unix_socket_directories"), "'/scratch/socket'");
    EXPECT_EQ(setting_of(settings, "max_prepared_transactions"), "'7'");
    EXPECT_THAT(settings, Not(HasSubstr("event_triggers")));
    EXPECT_EQ(setting_of(server_settings(plain_request(), {"/scratch"}, {17}), "event_triggers"),
              "'off'");
}

// A standby that has less than its primary had takes no sessions; one that has a session may not
// write.
TEST(DrillServer, ThatIsLookedAtTakesSessionsThatReadWhileItRecovers) {
    DrillRequest request = plain_request();
    request.settings = {{"default_transaction_read_only", "off"}, {"max_connections", "30"}};
    const auto settings = [&](unsigned major) {
        return server_settings(request, {"/scratch"}, {major, 7}) +
               look_settings({major, 7}, {{"max_connections", 300}, {"max_wal_senders", 12}});
    };
    EXPECT_EQ(setting_of(settings(15), "hot_standby"), "on");
    EXPECT_EQ(setting_of(settings(15), "default_transaction_read_only"), "on");
    EXPECT_EQ(setting_of(settings(15), "max_connections"), "300");
    EXPECT_EQ(setting_of(settings(15), "max_wal_senders"), "12");
    EXPECT_EQ(setting_of(settings(15), "max_prepared_transactions"), "7");
    EXPECT_EQ(setting_of(settings(15), "max_worker_processes"), "4");
    EXPECT_EQ(setting_of(settings(15), "archive_mode"), "'off'");
    EXPECT_EQ(setting_of(settings(15), "recovery_prefetch"), "off");
    EXPECT_EQ(setting_of(settings(14), "recovery_prefetch"), "(none)");
}

TEST(DrillServer, StartsWhateverTheSizeOfASegmentIs) {
    constexpr std::uint64_t kMiB = 1024 * 1024;
    const auto value = [](const char* name, std::uint64_t segment_mib) {
        return setting_of(
            server_settings(plain_request(), {"/scratch"}, {15, 0, segment_mib * kMiB}), name);
    };
    EXPECT_EQ(value("min_wal_size", 1), "'80MB'");
    EXPECT_EQ(value("min_wal_size", 16), "'80MB'");
    EXPECT_EQ(value("min_wal_size", 64), "'128MB'");
    EXPECT_EQ(value("max_wal_size", 16), "'1024MB'");
    EXPECT_EQ(value("max_wal_size", 1024), "'4096MB'");
    EXPECT_EQ(value("min_wal_size", 1024), "'2048MB'");
    DrillRequest request = plain_request();
    request.settings = {{"min_wal_size", "640MB"}};
    EXPECT_EQ(
        setting_of(server_settings(request, {"/scratch"}, {15, 0, 64 * kMiB}), "min_wal_size"),
        "'640MB'");
}

TEST(DrillServer, SettingsOfTheRequestCountUnlessTheyUndoItsSafety) {
    DrillRequest request = plain_request();
    request.preload = "timescaledb";
    request.settings = {{"shared_buffers", "1GB"}, {"app.name", "it's"}};
    ASSERT_OK(check_settings(request));
    const std::string settings = server_settings(request, {"/scratch"}, {15});
    EXPECT_EQ(setting_of(settings, "shared_buffers"), "'1GB'");
    EXPECT_EQ(setting_of(settings, "app.name"), "'it''s'");
    EXPECT_EQ(setting_of(settings, "shared_preload_libraries"), "'timescaledb'");
    for (const char* name : {"archive_mode", "Archive_Command", "data_directory", "include",
                             "restore_command", "a b", "", "x\n"}) {
        SCOPED_TRACE(name);
        request.settings = {{name, "x"}};
        EXPECT_ERROR(ErrorKind::option_invalid_value, check_settings(request));
    }
    request.settings = {{"shared_buffers", "1\narchive_mode = on"}};
    EXPECT_ERROR(ErrorKind::option_invalid_value, check_settings(request));
}

TEST(DrillServer, WhatAlterSystemSaidIsDroppedAndTheRecoveryKept) {
    const std::string recovery =
        "# Recovery settings generated by chronos restore on 2026-11-20 08:11:30\n"
        "restore_command = 'chronos archive-get %f \"%p\"'\n";
    EXPECT_EQ(recovery_part("archive_mode = 'on'\n# Recovery settings generated by chronos restore "
                            "on 2020-01-01 00:00:00\nrestore_command = 'old'\n\n" +
                            recovery),
              recovery);
    EXPECT_EQ(recovery_part("archive_mode = 'on'\n"), "");
}

TEST(DrillServer, SaysWhyARecoveryEnded) {
    const std::string log =
        "2026-11-20 08:00:00 UTC LOG:  restored log file \"000000010000000000000002\" from "
        "archive\n"
        "2026-11-20 08:00:01 UTC LOG:  restored log file \"000000010000000000000003\" from "
        "archive\n"
        "2026-11-20 08:00:02 UTC FATAL:  recovery ended before configured recovery target was "
        "reached\n"
        "2026-11-20 08:00:02 UTC FATAL:  the database system is shutting down\n";
    EXPECT_EQ(last_failure(log), "recovery ended before configured recovery target was reached");
    EXPECT_EQ(count_restored_segments(log), 2u);
    EXPECT_THAT(last_failure(log + "ERROR: [026]: WAL segment 4 is damaged\n"),
                HasSubstr("ERROR: [026]: WAL segment 4 is damaged"));
    EXPECT_EQ(last_failure("LOG:  all is well\n"), "");
    EXPECT_EQ(count_restored_segments(""), 0u);
}

TEST(DrillServer, NamesWhereItLookedForPrograms) {
    const auto found = find_programs("99", "");
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind(), ErrorKind::not_found);
    EXPECT_THAT(found.error().message(), HasSubstr("/usr/lib/postgresql/99/bin"));
    EXPECT_THAT(found.error().hint(), HasSubstr("--bin-path"));
}

}  // namespace
}  // namespace chronos::ops::drill
