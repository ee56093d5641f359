#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chronos/base/quote.h"
#include "chronos/flows/replica.h"
#include "chronos/ops/mount/instant.h"
#include "chronos/present/print.h"
#include "chronos/present/replica_plan_output.h"
#include "chronos/requests/restore_request.h"
#include "cli/commands/commands.h"
#include "cli/commands/what_is_next.h"

namespace chronos::cli {
namespace {

/// The server that is started later has not what the shell of this command has: an answer that
/// took a password from there would be no answer.
void forget_environment_of_libpq() {
    std::vector<std::string> names;
    for (char** entry = ::environ; *entry != nullptr; ++entry)
        if (const std::string text(*entry); text.starts_with("PG"))
            names.push_back(text.substr(0, text.find('=')));
    for (const std::string& name : names) ::unsetenv(name.c_str());
}

Result<flows::ReplicaRequest> replica_request(requests::Context& context) {
    const config::Config& config = context.config;
    flows::ReplicaRequest request;
    request.conninfo = config.get_string("primary-conninfo");
    CHRONOS_TRY(flows::check_conninfo(request.conninfo));
    request.connect = CHRONOS_TRY(flows::connect_as_standby(request.conninfo, context.cancel));
    request.slot = config.get_string("primary-slot");
    request.create_slot = config.get_bool("create-slot");
    request.restore = CHRONOS_TRY(requests::restore_request(context));
    request.restore.only_plan = config.get_bool("plan");
    return request;
}

}  // namespace

Result<int> run_replica(requests::Context& context) {
    const config::Config& config = context.config;
    const bool json = config.get_string("output") == "json";
    const bool only_plan = config.get_bool("plan");
    if (json && !only_plan)
        return Error(ErrorKind::option_invalid,
                     "option 'output' = 'json' not valid without option 'plan'");
    forget_environment_of_libpq();
    const flows::ReplicaRequest request = CHRONOS_TRY(replica_request(context));
    CHRONOS_TRY(ops::mount::check_restorable(request.restore.pg_path));
    flows::ReplicaPlan plan = CHRONOS_TRY(flows::plan_replica(request));
    if (only_plan) {
        const auto& problems = plan.restore.problems;
        CHRONOS_TRY(json ? present::print_json(present::replica_plan_object(plan))
                         : present::print_text(present::format_replica_plan(plan)));
        return problems.empty() ? 0 : static_cast<int>(problems.front().error.kind());
    }
    const std::string follows = present::replica_outlook(plan);
    const ops::restore::RestoreResult done =
        CHRONOS_TRY(flows::run_replica(request, std::move(plan), context.cancel, context.progress));
    CHRONOS_TRY(tell_what_is_next(
        config, (done.next.empty() ? "to start the standby: pg_ctl -D " +
                                         shell_word(request.restore.pg_path) + " -w start\n"
                                   : done.next) +
                    follows));
    return 0;
}

}  // namespace chronos::cli
