#include <algorithm>
#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/present/log_output.h"
#include "chronos/present/print.h"
#include "chronos/present/restore_plan_output.h"
#include "chronos/requests/restore_request.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

/// Into the log, and to whoever waits for the end, whom a log of errors and warnings does not tell.
/// Who turned it off wants a restore as silent as that of pgBackRest.
Result<> tell_what_is_next(const config::Config& config, const std::string& text) {
    if (text.empty()) return {};
    log_info(trim(text));
    const LogLevel console = present::log_level_of(config.get_string("log-level-console"));
    const LogLevel standard_error = present::log_level_of(config.get_string("log-level-stderr"));
    if (console == LogLevel::off || std::max(console, standard_error) >= LogLevel::info) return {};
    return present::print_text(text);
}

}  // namespace

Result<int> run_restore(requests::Context& context) {
    ops::restore::RestoreRequest request = CHRONOS_TRY(requests::restore_request(context));
    request.only_plan = context.config.get_bool("plan");
    const bool json = context.config.get_string("output") == "json";
    if (json && !request.only_plan)
        return Error(ErrorKind::option_invalid,
                     "option 'output' = 'json' not valid without option 'plan'")
            .with_hint("The plan is what restore says as JSON: add --plan, or leave --output out.");
    ops::restore::RestorePlan plan = CHRONOS_TRY(ops::restore::plan_restore(request));
    if (request.only_plan) {
        CHRONOS_TRY(json ? present::print_json(present::restore_plan_object(plan))
                         : present::print_text(ops::restore::format_restore_plan(plan)));
        return plan.problems.empty() ? 0 : static_cast<int>(plan.problems.front().error.kind());
    }
    const ops::restore::RestoreResult done = CHRONOS_TRY(
        ops::restore::run_restore(request, std::move(plan), context.cancel, context.progress));
    CHRONOS_TRY(tell_what_is_next(context.config, done.next));
    return 0;
}

}  // namespace chronos::cli
