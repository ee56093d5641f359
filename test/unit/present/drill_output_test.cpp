#include "chronos/present/drill_output.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "chronos/ops/drill/record.h"

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

TEST(DrillOutput, TheListSaysHowADrillEndedAndWhy) {
    auto failed = ops::drill::record_of(sample_report(), "");
    failed["passed"] = false;
    failed["failure"] = {{"phase", "restore"}, {"message", "file x is damaged\n"}};
    const auto history =
        nlohmann::json::array({ops::drill::record_of(sample_report(), ""), failed});
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
