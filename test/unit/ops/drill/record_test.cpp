#include "chronos/ops/drill/record.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "chronos/repo/side/drill.h"
#include "drill_report.h"

namespace chronos::ops::drill {
namespace {

using testing::HasSubstr;

TEST(DrillRecord, HasEveryMemberWhateverHappened) {
    const auto passed = record_of(test::sample_drill_report(), "quarterly");
    DrillReport broken;
    broken.failed_phase = "restore";
    broken.failure = "file x is damaged";
    broken.failure_code = 26;
    const auto failed = record_of(broken, "");
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

// What was not restored says nothing about how long a restore takes.
TEST(DrillRecord, OfABackupThatWasNotRestoredHasNoTimeOfARestore) {
    DrillReport report = test::sample_drill_report();
    report.backup.fetched_bytes = 12345;
    const auto record = record_of(report, "");
    EXPECT_EQ(record.at("backup").at("fetched"), 12345);
    EXPECT_TRUE(record.at("restore-seconds").is_null());
    EXPECT_EQ(repo::drill_recovery_time(record.dump()), std::nullopt);
}

TEST(DrillRecord, HasNoAnswerOfTheCluster) {
    DrillReport report = test::sample_drill_report();
    report.checks = {
        {"assert", "SELECT password", "x", "secret of the cluster", false, 0.5, "another value"},
        {"command", "psql", "exit status 0", "exit status 1: secret", false, 0.5, "exit status 1"},
        {"amcheck", "database app", "", "3 tables and indexes, 0 damaged", true, 1}};
    const std::string record = record_of(without_answers(report), "").dump();
    EXPECT_THAT(record, ::testing::Not(HasSubstr("secret")));
    EXPECT_THAT(record, HasSubstr("another value"));
    EXPECT_THAT(record, HasSubstr("0 damaged"));
}

// Records of the first form have what the cluster answered, which is nobody's who lists drills.
TEST(DrillRecord, OfTheFirstFormLosesItsAnswersWhenItIsRead) {
    const auto record = parse_record(
        R"({"checks": [{"kind": "assert", "actual": "secret", "passed": true},
                       {"kind": "amcheck", "actual": "0 damaged"}, 7]})");
    EXPECT_THAT(record.dump(), ::testing::Not(HasSubstr("secret")));
    EXPECT_THAT(record.dump(), HasSubstr("as expected"));
    EXPECT_THAT(record.dump(), HasSubstr("0 damaged"));
    EXPECT_TRUE(parse_record("[1]").is_null());
    EXPECT_TRUE(parse_record("{").is_null());
}

}  // namespace
}  // namespace chronos::ops::drill
