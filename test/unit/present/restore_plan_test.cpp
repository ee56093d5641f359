#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "chronos/present/restore_plan_output.h"

namespace chronos::present {
namespace {

using nlohmann::json;

ops::restore::RestorePlan plan() {
    ops::restore::RestorePlan plan;
    plan.manifest.label = "20261120-083824F";
    plan.manifest.references = {"20261120-083824F"};
    plan.manifest.timestamp_start = 10;
    plan.manifest.timestamp_stop = 20;
    plan.manifest.targets.emplace_back().name = "pg_data";
    plan.manifest.targets.back().path = "/pg";
    plan.random_access = {5, 3 << 20, "base/5/1259", 3 << 20};
    plan.repo_key = 2;
    plan.reason = "is the newest";
    plan.type = ops::restore::RecoveryType::lsn;
    plan.target_setting = "0/5000100";
    plan.backup_timeline = 1;
    plan.file_count = 7;
    plan.size_bytes = 3 << 20;
    plan.stored_size_bytes = 99;
    plan.space = {{"/pg", 5, 6}};
    plan.wal.first = "000000010000000000000007";
    return plan;
}

TEST(RestorePlanJson, HasWhatThePlanHas) {
    const json object = restore_plan_object(plan());
    EXPECT_EQ(object["backup"],
              json::parse(R"({"label":"20261120-083824F","random-access":{"in-parts":5,)"
                          R"("largest-whole":{"name":"base/5/1259","size":3145728},)"
                          R"("whole":3145728},"reason":"is the newest",)"
                          R"("reference":["20261120-083824F"],"repo-key":2,)"
                          R"("timestamp":{"start":10,"stop":20}})"));
    EXPECT_EQ(object["destination"], json::parse(R"([{"name":"pg_data","path":"/pg"}])"));
    EXPECT_EQ(object["type"], "lsn");
    EXPECT_EQ(object["target"], "0/5000100");
    EXPECT_EQ(object["timeline"], json::parse(R"({"backup":1,"target":null})"));
    EXPECT_EQ(object["space"], json::parse(R"([{"free":6,"needed":5,"path":"/pg"}])"));
    EXPECT_EQ(object["wal"], json::parse(R"({"count":0,"max":null,"missing":[],)"
                                         R"("min":"000000010000000000000007","missing-total":0})"));
    EXPECT_EQ(object["problem"], json::array());
}

TEST(RestorePlanJson, TellsWhatKeepsItFromWorking) {
    ops::restore::RestorePlan broken = plan();
    broken.wal = {};
    broken.target_setting = "";
    broken.problems.push_back({Error(ErrorKind::path_not_empty, "there is something"), true});
    broken.problems.push_back({Error(ErrorKind::path_open, "there may be no room"), false});
    const json object = restore_plan_object(broken);
    EXPECT_EQ(object["wal"], nullptr);
    EXPECT_EQ(object["target"], nullptr);
    ASSERT_EQ(object["problem"].size(), 2u);
    EXPECT_EQ(object["problem"][0],
              json({{"certain", true}, {"code", 40}, {"message", "there is something"}}));
    EXPECT_EQ(object["problem"][1]["certain"], false);
}

TEST(RestorePlanJson, TellsWhatIsLeftInTheBackup) {
    ops::restore::RestorePlan of_all = plan();
    EXPECT_EQ(restore_plan_object(of_all)["instant"], nullptr);
    of_all.left = ops::restore::LeftPlan{.at_once = {5, 1000, 33},
                                         .left = {2, 2000, 66},
                                         .random_access = {2000, 0, "", 0},
                                         .without_prefetch = true};
    EXPECT_EQ(restore_plan_object(of_all)["instant"],
              json::parse(R"({"at-once":{"file-total":5,"size":1000,"stored-size":33},)"
                          R"("left":{"file-total":2,"size":2000,"stored-size":66},)"
                          R"("random-access":{"in-parts":2000,"largest-whole":null,"whole":0},)"
                          R"("recovery-prefetch":false})"));
}

}  // namespace
}  // namespace chronos::present
