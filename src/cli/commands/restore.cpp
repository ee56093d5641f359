#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/flows/instant.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/os/process.h"
#include "chronos/present/print.h"
#include "chronos/present/restore_plan_output.h"
#include "chronos/requests/restore_request.h"
#include "cli/commands/commands.h"
#include "cli/commands/instant_mount.h"
#include "cli/commands/what_is_next.h"

namespace chronos::cli {
namespace {

/// What a reboot needs, if nothing that is started then does this.
std::string after_a_reboot(const std::string& stanza, const std::string& path) {
    if (std::getenv("INVOCATION_ID") != nullptr) return "";
    return "until 'chronos mounts' says that the directory is whole, a reboot takes 'chronos "
           "--stanza=" +
           stanza + " mount --remount=" + path +
           " --background' before the server is started there: docs/mount.md has a unit of systemd "
           "for that\n";
}

Result<> run_whole(requests::Context& context, ops::restore::RestoreRequest request,
                   ops::restore::RestorePlan plan) {
    request.instant = false;
    const ops::restore::RestoreResult done = CHRONOS_TRY(
        ops::restore::run_restore(request, std::move(plan), context.cancel, context.progress));
    return tell_what_is_next(context.config, done.next);
}

/// Returns in a process of its own, when the directory is whole.
Result<int> run_instant(requests::Context& context, os::Background background,
                        const ops::restore::RestoreRequest& request,
                        ops::restore::RestorePlan plan) {
    if (plan.left->left.file_count == 0) {
        CHRONOS_TRY(run_whole(context, request, std::move(plan)));
        log_info("all of the backup was restored at once: the directory is whole");
        background.ready();
        return 0;
    }
    const ops::restore::RestoreResult done = CHRONOS_TRY(
        flows::run_instant_restore(request, std::move(plan), context.cancel, context.progress));
    ops::mount::KeepRequest kept = instant_keeping(context, request.pg_path);
    kept.ready = [&](const std::string&) -> Result<> {
        CHRONOS_TRY(tell_what_is_next(context.config,
                                      done.next + after_a_reboot(request.stanza, request.pg_path)));
        background.ready();
        return {};
    };
    CHRONOS_TRY(ops::mount::keep_instant(kept, context.cancel));
    return 0;
}

Result<> check_instant_options(const config::Config& config) {
    if (config.get_bool("delta") || config.get_bool("force"))
        return Error(ErrorKind::option_invalid,
                     "option 'instant' not valid with option 'delta' or 'force'")
            .with_hint("What is there would be compared with what is not there yet.");
    if (!config.get_list("db-include").empty() || !config.get_list("db-exclude").empty())
        return Error(ErrorKind::option_invalid,
                     "option 'instant' not valid with option 'db-include' or 'db-exclude'")
            .with_hint("A database that is left out would be fetched in the end.");
    return {};
}

}  // namespace

Result<int> run_restore(requests::Context& context) {
    const bool instant = context.config.get_bool("instant");
    const bool only_plan = context.config.get_bool("plan");
    if (instant) CHRONOS_TRY(check_instant_options(context.config));
    // Before there is a second thread.
    std::optional<os::Background> background;
    if (instant && !only_plan) background = CHRONOS_TRY(os::Background::start());
    ops::restore::RestoreRequest request = CHRONOS_TRY(requests::restore_request(context));
    request.only_plan = only_plan;
    request.instant = instant;
    CHRONOS_TRY(ops::mount::check_restorable(request.pg_path));
    const bool json = context.config.get_string("output") == "json";
    if (json && !request.only_plan)
        return Error(ErrorKind::option_invalid,
                     "option 'output' = 'json' not valid without option 'plan'")
            .with_hint("The plan is what restore says as JSON: add --plan, or leave --output out.");
    ops::restore::RestorePlan plan = CHRONOS_TRY(instant ? flows::plan_instant_restore(request)
                                                         : ops::restore::plan_restore(request));
    if (request.only_plan) {
        CHRONOS_TRY(json ? present::print_json(present::restore_plan_object(plan))
                         : present::print_text(ops::restore::format_restore_plan(plan)));
        return plan.problems.empty() ? 0 : static_cast<int>(plan.problems.front().error.kind());
    }
    if (background) return run_instant(context, *std::move(background), request, std::move(plan));
    CHRONOS_TRY(run_whole(context, std::move(request), std::move(plan)));
    return 0;
}

}  // namespace chronos::cli
