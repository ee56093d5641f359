#include "chronos/ops/health/alert.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "ops/health/shell_command.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::health {
namespace {

Alert sample_alert(RuleState state, RuleState before) {
    Alert alert;
    alert.stanza = "main";
    alert.at = 1795182683;
    alert.change.before = before;
    alert.change.rule.name = "backup_age";
    alert.change.rule.state = state;
    alert.change.rule.message = "age of the last backup is 26h";
    alert.change.rule.hint = "Look for failed jobs.";
    return alert;
}

std::string content_of(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Alert, IsJsonThatSaysAll) {
    const nlohmann::json payload =
        nlohmann::json::parse(generic_payload(sample_alert(RuleState::critical, RuleState::ok)));
    EXPECT_EQ(payload["rule"], "backup_age");
    EXPECT_EQ(payload["state"], "critical");
    EXPECT_EQ(payload["before"], "ok");
    EXPECT_EQ(payload["stanza"], "main");
    EXPECT_EQ(payload["summary"], "critical: backup_age of main: age of the last backup is 26h");
}

// NOTIFY refuses 8000 bytes, and an alert that raises an error would be none.
TEST(Alert, FitsANotification) {
    Alert alert = sample_alert(RuleState::critical, RuleState::ok);
    alert.change.rule.message = std::string(100000, '"');
    alert.change.rule.hint = std::string(100000, '\\');
    EXPECT_LT(generic_payload(alert).size(), 8000u);
    alert.change.rule.message = std::string(100000, 'm');
    alert.change.rule.hint = std::string(100000, 'h');
    EXPECT_LT(generic_payload(alert).size(), 8000u);
}

TEST(Alert, OfPagerDutyTriggersAndResolvesByOneKey) {
    const nlohmann::json trigger = nlohmann::json::parse(
        pagerduty_payload(sample_alert(RuleState::warning, RuleState::ok), "KEY"));
    EXPECT_EQ(trigger["event_action"], "trigger");
    EXPECT_EQ(trigger["routing_key"], "KEY");
    EXPECT_EQ(trigger["payload"]["severity"], "warning");
    for (const char* required : {"summary", "source", "severity"})
        EXPECT_TRUE(trigger["payload"][required].is_string()) << required;
    const nlohmann::json resolve = nlohmann::json::parse(
        pagerduty_payload(sample_alert(RuleState::ok, RuleState::warning), "KEY"));
    EXPECT_EQ(resolve["event_action"], "resolve");
    EXPECT_EQ(resolve["dedup_key"], trigger["dedup_key"]);
}

TEST(Alert, OfSlackHasAText) {
    const nlohmann::json payload =
        nlohmann::json::parse(slack_payload(sample_alert(RuleState::ok, RuleState::critical)));
    EXPECT_EQ(payload["text"], "resolved: backup_age of main: age of the last backup is 26h");
    EXPECT_EQ(payload["attachments"][0]["color"], "good");
}

TEST(ShellCommand, GetsInputAndEnvironment) {
    const test::TemporaryDirectory directory;
    const std::string out = directory.path() + "/out";
    ASSERT_OK(run_shell_command("cat >" + out + "; printf %s \"$ALERT_RULE\" >>" + out, "input ",
                                {"ALERT_RULE=a'b\"c $(d)"}, std::chrono::seconds(10)));
    EXPECT_EQ(content_of(out), "input a'b\"c $(d)");
}

TEST(ShellCommand, ThatFailsOrHangsIsAnError) {
    EXPECT_ERROR(ErrorKind::execute, run_shell_command("exit 3", "", {}, std::chrono::seconds(10)));
    EXPECT_ERROR(ErrorKind::execute,
                 run_shell_command("sleep 60", "", {}, std::chrono::milliseconds(100)));
    // One that reads nothing does not hold us up, however much there is to read.
    EXPECT_OK(run_shell_command("true", std::string(1 << 20, 'x'), {}, std::chrono::seconds(10)));
}

}  // namespace
}  // namespace chronos::ops::health
