#include "chronos/ops/restore.h"
#include "chronos/repo/stanza_memory.h"
#include "cli/commands.h"
#include "cli/restore_request.h"

namespace chronos::cli {

Result<int> run_restore(Context& context) {
    ops::RestoreRequest request = CHRONOS_TRY(restore_request(context));
    request.only_plan = context.config.get_bool("plan");
    ops::RestorePlan plan = CHRONOS_TRY(ops::plan_restore(request));
    if (request.only_plan) {
        CHRONOS_TRY(print(ops::format_restore_plan(plan)));
        return plan.problems.empty() ? 0 : static_cast<int>(plan.problems.front().error.kind());
    }
    const repo::Repository& repository = request.repositories[plan.repository_index];
    const std::uint64_t system_id = plan.manifest.system_id;
    CHRONOS_TRY(ops::run_restore(request, std::move(plan), context.cancel, context.progress));
    // The machine may be new, and the directory of the repository not mounted after a restart.
    repo::StanzaMemory({request.spool_path, request.lock_path, request.stanza, request.pg_path})
        .remember(repository, system_id);
    return 0;
}

}  // namespace chronos::cli
