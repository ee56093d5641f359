#include "chronos/present/drill_output.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace chronos::present {
namespace {

using testing::HasSubstr;

ops::drill::DrillReport sample_report() {
    ops::drill::DrillReport report;
    report.stanza = "main";
    report.started = 1795187770;
    report.finished = 1795187777;
    report.backup.label = "20261120-075745F";
    report.backup.type = "time";
    report.backup.target = "2026-11-20 08:00:00+00";
    report.restore_seconds = 0.1 + 0.2;
    report.checks = {{"assert", "SELECT 1", "1", "1", true, 0.5}};
    report.passed = true;
    return report;
}

TEST(DrillOutput, ARecordHasEveryMemberWhateverHappened) {
    const auto passed = drill_json(sample_report(), "quarterly");
    ops::drill::DrillReport broken;
    broken.failed_phase = "restore";
    broken.failure = "file x is damaged";
    broken.failure_code = 26;
    const auto failed = drill_json(broken, "");
    for (const auto& [name, value] : passed.items()) EXPECT_TRUE(failed.contains(name)) << name;
    EXPECT_EQ(passed.at("reason"), "quarterly");
    EXPECT_TRUE(passed.at("failure").is_null());
    EXPECT_EQ(passed.at("restore-seconds").dump(), "0.3");
    EXPECT_EQ(passed.at("checks").at(0).at("actual"), "1");
    EXPECT_TRUE(passed.at("data-age-seconds").is_null());
    EXPECT_EQ(failed.at("failure").at("phase"), "restore");
    EXPECT_EQ(failed.at("failure").at("code"), 26);
    EXPECT_TRUE(failed.at("backup").at("label").is_null());
}

TEST(DrillOutput, ARecordHasNoAnswerOfTheCluster) {
    ops::drill::DrillReport report = sample_report();
    report.checks = {
        {"assert", "SELECT password", "x", "secret of the cluster", false, 0.5, "another value"},
        {"command", "psql", "exit status 0", "exit status 1: secret", false, 0.5, "exit status 1"},
        {"amcheck", "database app", "", "3 tables and indexes, 0 damaged", true, 1}};
    const std::string record = drill_json(ops::drill::without_answers(report), "").dump();
    EXPECT_THAT(record, ::testing::Not(HasSubstr("secret")));
    EXPECT_THAT(record, HasSubstr("another value"));
    EXPECT_THAT(record, HasSubstr("0 damaged"));
}

TEST(DrillOutput, TheListSaysHowADrillEndedAndWhy) {
    auto failed = drill_json(sample_report(), "");
    failed["passed"] = false;
    failed["failure"] = {{"phase", "restore"}, {"message", "file x is damaged\n"}};
    const auto history = nlohmann::json::array({drill_json(sample_report(), ""), failed});
    const std::string text = format_drill_history(history);
    EXPECT_THAT(text, HasSubstr("passed  20261120-075745F  time 2026-11-20 08:00:00+00\n"));
    EXPECT_THAT(text, HasSubstr("FAILED  20261120-075745F  time 2026-11-20 08:00:00+00  file x is "
                                "damaged?\n"));
    EXPECT_EQ(format_drill_history(nlohmann::json::array()), "no drills\n");
}

TEST(DrillOutput, ARecordOfAnotherReleaseIsListedAsFarAsItIsUnderstood) {
    const auto history = nlohmann::json::parse(R"([{"backup": 7, "type": null}])", nullptr, false);
    EXPECT_THAT(format_drill_history(history), HasSubstr("FAILED"));
}

}  // namespace
}  // namespace chronos::present
