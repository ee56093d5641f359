#include "chronos/ops/restore.h"
#include "cli/commands.h"
#include "cli/restore_request.h"

namespace chronos::cli {

Result<int> run_restore(Context& context) {
    ops::RestoreRequest request = CHRONOS_TRY(restore_request(context));
    request.only_plan = context.config.get_bool("plan");
    ops::RestorePlan plan = CHRONOS_TRY(ops::plan_restore(request));
    if (request.only_plan) {
        CHRONOS_TRY(print_text(ops::format_restore_plan(plan)));
        return plan.problems.empty() ? 0 : static_cast<int>(plan.problems.front().error.kind());
    }
    CHRONOS_TRY(ops::run_restore(request, std::move(plan), context.cancel, context.progress));
    return 0;
}

}  // namespace chronos::cli
