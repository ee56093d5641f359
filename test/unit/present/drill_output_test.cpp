#include "chronos/present/drill_output.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "chronos/ops/drill/record.h"
#include "drill_report.h"

namespace chronos::present {
namespace {

using testing::HasSubstr;

TEST(DrillOutput, TheListSaysHowADrillEndedAndWhy) {
    auto failed = ops::drill::record_of(test::sample_drill_report(), "");
    failed["passed"] = false;
    failed["failure"] = {{"phase", "restore"}, {"message", "file x is damaged\n"}};
    const auto history =
        nlohmann::json::array({ops::drill::record_of(test::sample_drill_report(), ""), failed});
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
