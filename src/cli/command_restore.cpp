#include "chronos/ops/restore.h"
#include "cli/commands.h"
#include "cli/restore_request.h"

namespace chronos::cli {

Result<int> run_restore(Context& context) {
    const ops::RestoreRequest request = CHRONOS_TRY(restore_request(context));
    ops::RestorePlan plan = CHRONOS_TRY(ops::plan_restore(request));
    if (context.config.get_bool("plan")) {
        CHRONOS_TRY(print(ops::format_restore_plan(plan)));
        return plan.problems.empty() ? 0 : static_cast<int>(plan.problems.front().error.kind());
    }
    CHRONOS_TRY(ops::run_restore(request, std::move(plan), context.cancel, context.progress));
    return 0;
}

}  // namespace chronos::cli
