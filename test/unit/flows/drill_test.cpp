#include "chronos/flows/drill.h"

#include <gmock/gmock.h>

#include "result_matchers.h"

namespace chronos::flows {
namespace {

using ops::restore::RecoveryType;
using ops::restore::RestoreRequest;
using ops::restore::TargetAction;

const ops::drill::Scratch kScratch{"/scratch"};

RestoreRequest of_the_cluster() {
    RestoreRequest request;
    request.pg_path = "/srv/data";
    request.spool_path = "/srv/spool";
    request.lock_path = "/srv/lock";
    return request;
}

// A drill beside a running server, a real restore or a recovery must not be in the way of any.
TEST(DrillFlow, RestoresNowhereButIntoItsScratchDirectory) {
    const RestoreRequest request = restore_into(of_the_cluster(), kScratch, std::nullopt);
    for (const std::string& path :
         {request.pg_path, request.spool_path, request.lock_path, request.tablespace_map_all})
        EXPECT_THAT(path, testing::StartsWith("/scratch/"));
    EXPECT_FALSE(request.durable);
    EXPECT_FALSE(request.type);
}

// A server that pauses at its target never answers.
TEST(DrillFlow, PromotesAtATargetAndAtAMarker) {
    RestoreRequest to_a_time = of_the_cluster();
    to_a_time.type = RecoveryType::time;
    to_a_time.target_action = TargetAction::pause;
    EXPECT_EQ(restore_into(to_a_time, kScratch, std::nullopt).target_action, TargetAction::promote);
    const RestoreRequest marked = restore_into(of_the_cluster(), kScratch, "chronos drill 1-2");
    EXPECT_EQ(marked.type, RecoveryType::name);
    EXPECT_EQ(marked.target, "chronos drill 1-2");
    EXPECT_EQ(marked.target_action, TargetAction::promote);
}

TEST(DrillFlow, NeedsRoomForWhatTheServerAdds) {
    constexpr std::uint64_t kMiB = 1 << 20;
    ops::restore::RestorePlan plan;
    plan.space = {{"/scratch", 1000 * kMiB, 1356 * kMiB}};
    EXPECT_OK(check_space(plan));  // a tenth more, and 256 MiB
    plan.space.push_back({"/other", 1000 * kMiB, 1355 * kMiB});
    EXPECT_ERROR(ErrorKind::file_write, check_space(plan));
}

}  // namespace
}  // namespace chronos::flows
