#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/health_view.h"
#include "cli/metrics.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr UnixTime kNow = 1735227000;  // 2024-12-26T15:30:00Z

repo::BackupEntry backup(const std::string& label, repo::BackupType type, UnixTime stop) {
    repo::BackupEntry entry;
    entry.label = label;
    entry.type = type;
    entry.backrest_version = "2.59.1";
    entry.timestamp_start = stop - 90;
    entry.timestamp_stop = stop;
    entry.history_id = 1;
    entry.repo_size = 500;
    entry.repo_size_delta = 400;
    return entry;
}

HealthView sample_view() {
    HealthView view;
    view.now = kNow;
    view.snapshot.stanza = "main";
    view.snapshot.taken_at = kNow - 3;
    ops::health::RepositoryFacts& repository = view.snapshot.repositories.emplace_back();
    repository.history.push_back({1, 77, "15", 0, 0});
    repository.backups = {
        backup("20241226-020000F", repo::BackupType::full, kNow - 13 * 3600),
        backup("20241226-020000F_20241226-090000I", repo::BackupType::incr, kNow - 6 * 3600 - 5)};
    ops::health::ArchiveFacts& archive = repository.archives.emplace_back();
    archive.database = repository.history[0];
    archive.min = "000000010000000000000001";
    archive.max = "000000010000000000000009";
    archive.stored_bytes = 36;
    view.rules = ops::health::evaluate(view.snapshot, view.server, {}, view.now);
    return view;
}

// The keys, and that the age is a text, are what existing checks parse.
TEST(HealthSummary, IsTheObjectThatRunbooksExpect) {
    const auto json = nlohmann::json::parse(health_summary_json(sample_view()));
    EXPECT_EQ(json.size(), 4u);
    EXPECT_EQ(json["status"], "healthy");
    EXPECT_EQ(json["timestamp"], "2024-12-26T15:30:00Z");
    EXPECT_EQ(json["last_backup_age_hours"], "6");
    EXPECT_TRUE(json["messages"].is_array());
    EXPECT_TRUE(json["messages"].empty());
}

TEST(HealthSummary, SaysWhatIsWrong) {
    HealthView view = sample_view();
    view.now += 20 * 3600;
    view.rules = ops::health::evaluate(view.snapshot, view.server, {}, view.now);
    const auto json = nlohmann::json::parse(health_summary_json(view));
    EXPECT_EQ(json["status"], "unhealthy");
    EXPECT_EQ(json["last_backup_age_hours"], "26");
    ASSERT_EQ(json["messages"].size(), 1u);
    EXPECT_THAT(json["messages"][0], HasSubstr("critical: backup_age"));
}

// Names and labels that the exporter's dashboard (Grafana 17709) and the runbooks' alerts ask for.
TEST(Metrics, HaveTheNamesOfExistingDashboards) {
    const std::string text = format_metrics(metrics_of(sample_view()), MetricFormat::prometheus);
    for (const char* line :
         {"pgbackrest_stanza_status{stanza=\"main\"} 0",
          "pgbackrest_repo_status{cipher=\"none\",repo_key=\"1\",stanza=\"main\"} 0",
          "pgbackrest_backup_info{backrest_ver=\"2.59.1\",backup_name=\"20241226-020000F\",backup_"
          "type="
          "\"full\",block_incr=\"n\",database_id=\"1\",lsn_start=\"-\",lsn_stop=\"-\",pg_version="
          "\"15\","
          "prior=\"\",repo_key=\"1\",stanza=\"main\",wal_start=\"-\",wal_stop=\"-\"} 1",
          "pgbackrest_backup_since_last_completion_seconds{backup_type=\"full\",block_incr=\"n\","
          "stanza="
          "\"main\"} 46800",
          "pgbackrest_backup_since_last_completion_seconds{backup_type=\"diff\",block_incr=\"n\","
          "stanza="
          "\"main\"} 46800",
          "pgbackrest_backup_since_last_completion_seconds{backup_type=\"incr\",block_incr=\"n\","
          "stanza="
          "\"main\"} 21605",
          "pgbackrest_backup_last_repo_size_bytes{backup_type=\"full\"",
          "pgbackrest_backup_last_duration_seconds{backup_type=\"incr\",block_incr=\"n\",stanza="
          "\"main\"} "
          "90",
          "pgbackrest_wal_archive_status{database_id=\"1\",pg_version=\"15\",repo_key=\"1\",stanza="
          "\"main\""
          ",wal_max=\"\",wal_min=\"\"} 1",
          "pgbackrest_last_backup_timestamp{stanza=\"main\"} 1735205395",
          "pgbackrest_backup_duration_seconds{backup_name=\"20241226-020000F\"",
          "s3_bucket_size_bytes{repo_key=\"1\",stanza=\"main\"} 836",
          "chronos_healthy{stanza=\"main\"} 1",
          "chronos_rule_state{rule=\"verify\",stanza=\"main\",state=\"unknown\"} 1"})
        EXPECT_THAT(text, HasSubstr(line));
    EXPECT_THAT(text, Not(HasSubstr("pgbackrest_verify_status"))) << "nothing was verified";
    EXPECT_THAT(text, Not(HasSubstr("# EOF")));
}

TEST(Metrics, OfAVerifyAreOneOrZero) {
    HealthView view = sample_view();
    view.snapshot.verify = ops::health::VerifyFacts{kNow, 3, "x"};
    EXPECT_THAT(format_metrics(metrics_of(view), MetricFormat::prometheus),
                HasSubstr("pgbackrest_verify_status{stanza=\"main\"} 0\n"));
}

TEST(Metrics, InOpenMetricsEndAndNameCountersWithoutSuffix) {
    HealthView view = sample_view();
    view.server.emplace();
    view.server->failed_count = 4;
    const std::string text = format_metrics(metrics_of(view), MetricFormat::openmetrics);
    EXPECT_TRUE(text.ends_with("# EOF\n"));
    EXPECT_THAT(text, HasSubstr("# TYPE chronos_wal_failed counter\n"));
    EXPECT_THAT(text, HasSubstr("\nchronos_wal_failed_total{stanza=\"main\"} 4\n"));
    EXPECT_THAT(format_metrics(metrics_of(view), MetricFormat::prometheus),
                HasSubstr("# TYPE chronos_wal_failed_total counter\n"));
}

TEST(Metrics, EscapeWhatLabelsHold) {
    MetricFamily family{"x", "Help.", "gauge", {{{{"a", "b\"c\\d"}}, 1.5}}};
    EXPECT_EQ(format_metrics({family}, MetricFormat::prometheus),
              "# HELP x Help.\n# TYPE x gauge\nx{a=\"b\\\"c\\\\d\"} 1.5\n");
    EXPECT_EQ(format_metric_value(1735205395), "1735205395");
    EXPECT_EQ(format_metric_value(-0.25), "-0.25");
}

TEST(HealthNote, ComesBackAsItWas) {
    test::TemporaryDirectory data;
    HealthNote note;
    note.server.at = kNow;
    note.server.in_recovery = true;
    note.server.archive_mode = "on";
    note.server.last_failed_wal = "00 strange\nname";
    note.server.unarchived_bytes = 123456789012;
    note.server.last_backup_job = ops::health::JobFacts{9, "full", "failed", "a b=c%", kNow - 1};
    note.memories["rpo"] = {ops::health::RuleState::warning, kNow - 50,
                            ops::health::RuleState::warning};
    ASSERT_OK(write_health_note(data.path(), note));
    const auto read = read_health_note(data.path(), kNow + 60);
    ASSERT_OK(read);
    EXPECT_EQ(read->server.at, kNow);
    EXPECT_TRUE(read->server.in_recovery);
    EXPECT_EQ(read->server.last_failed_wal, "00 strange\nname");
    EXPECT_EQ(read->server.unarchived_bytes, 123456789012u);
    ASSERT_TRUE(read->server.last_backup_job);
    EXPECT_EQ(read->server.last_backup_job->error, "a b=c%");
    EXPECT_EQ(read->memories.at("rpo").since, kNow - 50);
    // The server has ended long ago.
    EXPECT_ERROR(ErrorKind::not_found, read_health_note(data.path(), kNow + 86400));
    EXPECT_ERROR(ErrorKind::format, parse_health_note("server =\n"));
    EXPECT_ERROR(ErrorKind::format, parse_health_note(""));
}

TEST(WalMemory, ComesBackAsItWasAndNeverFails) {
    test::TemporaryDirectory data;
    EXPECT_TRUE(read_wal_memory(data.path()).empty());
    ops::health::WalMemory memory;
    ops::health::WalDirectory& directory = memory["1/15-1/0000000100000000"];
    directory.looked_at = kNow;
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

TEST(HealthStatus, HoldsWhatTheDashboardDraws) {
    HealthView view = sample_view();
    view.running.push_back({1, 1000, 250});
    view.snapshot.repositories[0].archives[0].gaps.push_back(
        {kNow - 900, kNow - 600, "A", "B", 2, "x\xff"});
    const auto json = nlohmann::json::parse(health_status_json(view));
    EXPECT_EQ(json["repositories"][0]["backups"].size(), 2u);
    EXPECT_EQ(json["repositories"][0]["archives"][0]["gaps"][0]["until"], kNow - 600);
    EXPECT_EQ(json["running"][0]["bytes_done"], 250);
    EXPECT_EQ(json["rules"].size(), view.rules.size());
    EXPECT_TRUE(json["server"].is_null());
}

}  // namespace
}  // namespace chronos::cli
