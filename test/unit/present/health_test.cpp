#include <gmock/gmock.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "chronos/base/utf8.h"
#include "chronos/present/health_view.h"
#include "chronos/present/metrics.h"
#include "plain_limits.h"

namespace chronos::present {
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
    repository.current_id = 1;
    repository.backups = {
        backup("20241226-020000F", repo::BackupType::full, kNow - 13 * 3600),
        backup("20241226-020000F_20241226-090000I", repo::BackupType::incr, kNow - 6 * 3600 - 5)};
    ops::health::ArchiveFacts& archive = repository.archives.emplace_back();
    archive.database = repository.history[0];
    archive.min = "000000010000000000000001";
    archive.max = "000000010000000000000009";
    archive.stored_bytes = 36;
    view.rules = ops::health::evaluate(view.snapshot, view.server, test::plain_limits(), view.now);
    return view;
}

/// A reader of the exposition format that takes nothing else: what a Prometheus would refuse is an
/// error here. The series, each with its labels as they were before they were written.
class StrictReader {
public:
    explicit StrictReader(std::string_view text) : text_(text) {}

    std::set<std::string> read() {
        EXPECT_TRUE(text_.ends_with('\n'));
        while (!text_.empty() && !HasFailure()) {
            const std::size_t end = text_.find('\n');
            line_ = text_.substr(0, end);
            text_.remove_prefix(std::min(end + 1, text_.size()));
            if (line_.starts_with("# "))
                read_comment();
            else
                read_sample();
        }
        return series_;
    }

private:
    static bool HasFailure() { return testing::Test::HasFailure(); }
    static bool is_name(std::string_view name) {
        return !name.empty() && !std::isdigit(static_cast<unsigned char>(name[0])) &&
               std::ranges::all_of(
                   name, [](unsigned char c) { return c < 0x80 && (std::isalnum(c) || c == '_'); });
    }
    std::string take_word(std::string_view until) {
        const std::size_t end = std::min(line_.find_first_of(until), line_.size());
        std::string word(line_.substr(0, end));
        line_.remove_prefix(end);
        return word;
    }
    bool take(char c) {
        if (!line_.starts_with(c)) return false;
        line_.remove_prefix(1);
        return true;
    }
    void read_comment() {
        if (line_ == "# EOF") {
            EXPECT_TRUE(text_.empty());
            return;
        }
        line_.remove_prefix(2);
        const std::string kind = take_word(" ");
        EXPECT_TRUE(take(' '));
        const std::string name = take_word(" ");
        EXPECT_TRUE(take(' ')) << name;
        EXPECT_TRUE(is_name(name)) << name;
        if (kind == "HELP") {
            EXPECT_TRUE(families_.insert(name).second) << name << " comes twice";
            EXPECT_FALSE(line_.empty());
        } else {
            EXPECT_EQ(kind, "TYPE");
            EXPECT_TRUE(line_ == "gauge" || line_ == "counter") << line_;
        }
        family_ = name;
    }
    std::string read_value() {
        std::string value;
        EXPECT_TRUE(take('"'));
        for (;;) {
            value += take_word("\\\"");
            if (!take('\\')) break;
            const char c = line_.empty() ? '?' : line_.front();
            EXPECT_TRUE(c == '\\' || c == '"' || c == 'n') << "\\" << c;
            value += c == 'n' ? '\n' : c;
            if (!line_.empty()) line_.remove_prefix(1);
        }
        EXPECT_TRUE(take('"'));
        for (std::string_view rest = value; !rest.empty();) {
            const std::size_t length = utf8_length(rest);
            EXPECT_GT(length, 0u) << value;
            if (length == 0) break;
            rest.remove_prefix(length);
        }
        return value;
    }
    void read_sample() {
        const std::string whole(line_);
        std::string series = take_word("{ ");
        EXPECT_TRUE(is_name(series)) << whole;
        EXPECT_TRUE(series == family_ || series == family_ + "_total") << whole;
        std::set<std::string> names;
        EXPECT_TRUE(take('{')) << whole;
        while (!take('}') && !HasFailure()) {
            const std::string name = take_word("=");
            EXPECT_TRUE(is_name(name) && names.insert(name).second) << whole;
            EXPECT_TRUE(take('='));
            series += "\x1f" + name + "\x1e" + read_value();
            take(',');
        }
        EXPECT_TRUE(take(' ')) << whole;
        const std::string number(line_);
        char* end = nullptr;
        std::strtod(number.c_str(), &end);
        EXPECT_TRUE(!number.empty() && *end == '\0') << whole;
        EXPECT_TRUE(series_.insert(series).second) << whole << " comes twice";
    }

    std::string_view text_, line_;
    std::string family_;
    std::set<std::string> families_, series_;
};

// The keys, and that the age is a text, are what existing checks parse.
TEST(HealthSummary, IsTheObjectThatRunbooksExpect) {
    const auto json = nlohmann::json::parse(health_summary_json(sample_view()));
    EXPECT_EQ(json.size(), 4u);
    EXPECT_EQ(json["status"], "healthy");
    // When the facts were collected, not when somebody asked.
    EXPECT_EQ(json["timestamp"], "2024-12-26T15:29:57Z");
    EXPECT_EQ(json["last_backup_age_hours"], "6");
    EXPECT_TRUE(json["messages"].is_array());
    EXPECT_TRUE(json["messages"].empty());
}

TEST(HealthSummary, SaysWhatIsWrong) {
    HealthView view = sample_view();
    view.now += 20 * 3600;
    view.rules = ops::health::evaluate(view.snapshot, view.server, test::plain_limits(), view.now);
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

// Names come from repositories that others wrote, and from those who ask for jobs.
TEST(Metrics, AreReadByAStrictReaderWhateverTheNamesAre) {
    const std::string hostile =
        "a\"b\\c\nd{e=\"f\"} 1\n# EOF\n\xff\xc3\xa9\t\r\x7f" + std::string(3000, 'x');
    HealthView view = sample_view();
    view.snapshot.stanza = hostile;
    for (ops::health::RepositoryFacts& repository : view.snapshot.repositories) {
        repository.problem = hostile;
        for (repo::BackupEntry& backup : repository.backups) {
            backup.backrest_version = hostile;
            backup.archive_start = hostile;
        }
        for (repo::HistoryEntry& entry : repository.history) entry.version = hostile;
    }
    view.server.emplace();
    view.server->heartbeats = {{hostile, true, 70, 65, hostile}, {"audit", false, -1, 0, ""}};
    for (const MetricFormat format : {MetricFormat::prometheus, MetricFormat::openmetrics}) {
        const std::string text = format_metrics(metrics_of(view), format);
        const std::set<std::string> series = StrictReader(text).read();
        EXPECT_GT(series.size(), 40u);
        EXPECT_TRUE(std::ranges::any_of(series, [](const std::string& one) {
            return one.find("a\"b\\c") != std::string::npos;
        }));
    }
}

TEST(HealthStatus, HoldsWhatTheDashboardDraws) {
    HealthView view = sample_view();
    view.running.push_back({1, 1000, 250});
    view.completing.push_back({.path = "/data",
                               .label = "20261120-075745F",
                               .left_bytes = 1000,
                               .missing_bytes = 400,
                               .bytes_per_second = 7});
    view.snapshot.repositories[0].archives[0].gaps.push_back(
        {kNow - 900, kNow - 600, "A", "B", 2, "x\xff", ""});
    const auto json = nlohmann::json::parse(health_status_json(view));
    EXPECT_EQ(json["repositories"][0]["backups"].size(), 2u);
    EXPECT_EQ(json["repositories"][0]["archives"][0]["gaps"][0]["until"], kNow - 600);
    EXPECT_EQ(json["running"][0]["bytes_done"], 250);
    EXPECT_EQ(json["completing"][0]["path"], "/data");
    EXPECT_EQ(json["completing"][0]["missing_bytes"], 400);
    EXPECT_EQ(json["completing"][0]["bytes_per_second"], 7);
    EXPECT_EQ(json["rules"].size(), view.rules.size());
    EXPECT_TRUE(json["server"].is_null());
    EXPECT_EQ(json["facts"]["server"]["expected"], false);
}

// The pill of a repository and the rule about it are one judgement.
TEST(HealthStatus, ARepositoryIsWhatTheRulesSayOfIt) {
    HealthView view = sample_view();
    ops::health::RepositoryFacts& away = view.snapshot.repositories.emplace_back();
    away.key = 2;
    away.problem = "gone";
    away.status = ops::health::StatusCode::other;
    view.memories[2] = {kNow - 900, kNow - 600, 41, kNow - 950};
    view.rules = ops::health::evaluate(view.snapshot, view.server, test::plain_limits(), view.now);
    auto json = nlohmann::json::parse(health_status_json(view));
    EXPECT_EQ(json["repositories"][0]["state"], "ok");
    EXPECT_EQ(json["repositories"][1]["state"], "warning") << "the other one still restores";
    EXPECT_EQ(json["repositories"][1]["failing_since"], kNow - 600);
    EXPECT_EQ(json["repositories"][1]["read_at"], kNow - 900);
    EXPECT_EQ(json["repositories"][1]["known_backups"], 41);
    view.snapshot.repositories.erase(view.snapshot.repositories.begin());
    view.rules = ops::health::evaluate(view.snapshot, view.server, test::plain_limits(), view.now);
    json = nlohmann::json::parse(health_status_json(view));
    EXPECT_EQ(json["repositories"][0]["state"], "critical");
}

TEST(HealthStatus, HasRecordsJobsAndSchedules) {
    HealthView view = sample_view();
    ops::health::RepositoryFacts& repository = view.snapshot.repositories[0];
    repository.holds.push_back({"20241226-020000F", "<audit>", kNow - 5});
    repository.drills.push_back({kNow - 4, false, "1a2b3c4d"});
    repository.verify = ops::health::VerifyFacts{kNow - 3, 2, "x", true, 4, 5};
    repository.unfinished_verify = {kNow - 2, kNow - 1, "it may not be read", 0, ""};
    view.activity.jobs.emplace_back().type = "verify";
    view.activity.schedules.emplace_back().name = "nightly";
    view.of_jobs = {kNow - 2, 2, 60, ""};
    view.of_schedules = {kNow - 200, 200, 150, "silent"};
    const auto json = nlohmann::json::parse(health_status_json(view));
    EXPECT_EQ(json["repositories"][0]["holds"][0]["reason"], "<audit>");
    EXPECT_EQ(json["repositories"][0]["drills"][0]["passed"], false);
    EXPECT_EQ(json["repositories"][0]["verify"]["problems"], 2);
    EXPECT_EQ(json["repositories"][0]["unfinished_verify"]["reason"], "it may not be read");
    EXPECT_EQ(json["jobs"][0]["type"], "verify");
    EXPECT_EQ(json["schedules"][0]["name"], "nightly");
    EXPECT_EQ(json["facts"]["jobs"]["known"], true);
    EXPECT_EQ(json["facts"]["schedules"]["known"], false);
    const std::string text = format_metrics(metrics_of(view), MetricFormat::prometheus);
    EXPECT_THAT(text, HasSubstr("chronos_facts_age_seconds{facts=\"jobs\",stanza=\"main\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("chronos_facts_known{facts=\"schedules\",stanza=\"main\"} 0\n"));
}

}  // namespace
}  // namespace chronos::present
