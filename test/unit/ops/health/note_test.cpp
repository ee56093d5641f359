#include "chronos/ops/health/note.h"

#include <gmock/gmock.h>

#include <fstream>

#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::health {
namespace {

constexpr UnixTime kNoted = 1735227000;  // 2024-12-26T15:30:00Z

TEST(HealthNote, ComesBackAsItWas) {
    test::TemporaryDirectory data;
    HealthNote note;
    note.server.at = kNoted;
    note.server.in_recovery = true;
    note.server.archive_mode = "on";
    note.server.last_failed_wal = "00 strange\nname";
    note.server.unarchived_bytes = 123456789012;
    note.server.last_backup_job = JobFacts{9, "full", "failed", "a b=c%", kNoted - 1};
    note.server.heartbeats = {{"archiver", true, 70, 65, "WAL that is ready is not archived"},
                              {"audit", false, -1, 0, ""}};
    note.memories["rpo"] = {RuleState::warning, kNoted - 50, RuleState::warning};
    note.interval = 5;
    JobEntry& job = note.activity.jobs.emplace_back();
    job.id = 12;
    job.type = "full";
    job.state = "running";
    job.phase = "copy";
    job.error = "a\nb";
    job.phase_started_at = kNoted - 7;
    job.bytes_done = 1000;
    ScheduleEntry& schedule = note.activity.schedules.emplace_back();
    schedule.name = "<b>nightly</b>";
    schedule.enabled = true;
    schedule.next_run = kNoted + 60;
    ASSERT_OK(write_health_note(data.path(), note));
    const auto read = read_health_note(data.path());
    ASSERT_OK(read);
    EXPECT_EQ(read->server.at, kNoted);
    EXPECT_TRUE(read->server.in_recovery);
    EXPECT_EQ(read->server.last_failed_wal, "00 strange\nname");
    EXPECT_EQ(read->server.unarchived_bytes, 123456789012u);
    ASSERT_TRUE(read->server.last_backup_job);
    EXPECT_EQ(read->server.last_backup_job->error, "a b=c%");
    ASSERT_EQ(read->server.heartbeats.size(), 2u);
    EXPECT_TRUE(read->server.heartbeats[0].late);
    EXPECT_EQ(read->server.heartbeats[0].late_by, 65);
    EXPECT_EQ(read->server.heartbeats[1].seen, -1);
    EXPECT_EQ(read->memories.at("rpo").since, kNoted - 50);
    ASSERT_EQ(read->activity.jobs.size(), 1u);
    EXPECT_EQ(read->activity.jobs[0].phase, "copy");
    EXPECT_EQ(read->activity.jobs[0].error, "a\nb");
    EXPECT_EQ(read->activity.jobs[0].phase_started_at, kNoted - 7);
    EXPECT_EQ(read->activity.jobs[0].bytes_done, 1000u);
    EXPECT_FALSE(read->activity.jobs[0].is_finished());
    ASSERT_EQ(read->activity.schedules.size(), 1u);
    EXPECT_EQ(read->activity.schedules[0].name, "<b>nightly</b>");
    EXPECT_TRUE(read->activity.schedules[0].enabled);
    EXPECT_EQ(read->activity.schedules[0].next_run, kNoted + 60);
    EXPECT_EQ(read->limit(), 40) << "two intervals and a grace";
    EXPECT_EQ(HealthNote().limit(), 150) << "of one that does not say its interval";
    EXPECT_ERROR(ErrorKind::format, parse_health_note("server =\n"));
    EXPECT_ERROR(ErrorKind::format, parse_health_note(""));
}

// A worker that died over its note, or a stranger: what is computed with its times has room.
TEST(HealthNote, TimesThatNoClockShowsCountAsNone) {
    const auto note = parse_health_note(
        "server at=18446744073709551615 last_failed_at=9223372036854775808 "
        "interval=9223372036854775807 exposed_seconds=9223372036854775807\n"
        "heartbeat subject=x late=y late_by=9223372036854775807 seen=9223372036854775807\n");
    ASSERT_OK(note);
    EXPECT_EQ(note->server.at, 0);
    EXPECT_EQ(note->server.last_failed_at, 0);
    EXPECT_FALSE(note->server.exposed_seconds);
    EXPECT_EQ(note->limit(), HealthNote().limit());
    EXPECT_EQ(note->server.heartbeats.at(0).late_by, 0);
}

TEST(ServeMemory, ComesBackAsItWasAndNeverFails) {
    ServeMemory memory;
    memory.rules["wal gap"] = {RuleState::critical, kNoted - 9, RuleState::critical};
    memory.repositories[2] = {kNoted - 100, kNoted - 50, 7, kNoted - 120};
    const ServeMemory again = parse_serve_memory(format_serve_memory(memory));
    EXPECT_EQ(again.rules.at("wal gap").since, kNoted - 9);
    EXPECT_EQ(again.rules.at("wal gap").state, RuleState::critical);
    EXPECT_EQ(again.repositories.at(2).read_at, kNoted - 100);
    EXPECT_EQ(again.repositories.at(2).failing_since, kNoted - 50);
    EXPECT_EQ(again.repositories.at(2).backups, 7u);
    EXPECT_TRUE(parse_serve_memory("garbage\n\n=\nrule state=odd\n").rules.empty());
}

TEST(WalMemory, ComesBackAsItWasAndNeverFails) {
    test::TemporaryDirectory data;
    EXPECT_TRUE(read_wal_memory(data.path()).empty());
    WalMemory memory;
    WalDirectory& directory = memory["1/15-1/0000000100000000"];
    directory.looked_at = kNoted;
    directory.segments = 3;
    directory.runs = {{1, 2, 10, 20}, {5, 5, 50, 50}};
    directory.hours = {{3600, 3, 99}};
    ASSERT_OK(write_wal_memory(data.path(), memory));
    const auto read = read_wal_memory(data.path());
    ASSERT_EQ(read.size(), 1u);
    const auto& again = read.at("1/15-1/0000000100000000");
    ASSERT_EQ(again.runs.size(), 2u);
    EXPECT_EQ(again.runs[1].first_at, 50);
    EXPECT_EQ(again.hours.at(0).stored_bytes, 99u);
    std::ofstream(data.path() + "/pg_stat_tmp/chronos_wal") << "garbage";
    EXPECT_TRUE(read_wal_memory(data.path()).empty());
}

}  // namespace
}  // namespace chronos::ops::health
