#include <nlohmann/json.hpp>

#include "chronos/ops/rekey/rekey.h"
#include "chronos/present/print.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {

Result<int> run_rekey(requests::Context& context) {
    const config::Config& config = context.config;
    if (!config.has("repo") && config.repo_keys().size() != 1)
        return Error(ErrorKind::option_required, "rekey command requires option: repo")
            .with_hint("this command requires a specific repository to operate on");
    ops::rekey::RekeyRequest request;
    request.repository = CHRONOS_TRY(requests::open_repositories(config)).front();
    const std::string phase = config.get_string("phase");
    request.phase = phase == "prepare"  ? ops::rekey::Phase::prepare
                    : phase == "finish" ? ops::rekey::Phase::finish
                                        : ops::rekey::Phase::whole;
    request.new_passphrase = config.get_string("new-cipher-pass");
    request.lock_path = config.get_string("lock-path");
    request.exec_id = config.get_string("exec-id");
    nlohmann::json rows = nlohmann::json::array();
    for (const auto& file : CHRONOS_TRY(ops::rekey::rekey(request, context.cancel)))
        rows.push_back({{"repo", request.repository.key},
                        {"stanza", file.stanza},
                        {"name", file.name},
                        {"action", file.written ? "written" : "none"},
                        {"reason", file.reason}});
    if (config.get_string("output") == "json") CHRONOS_TRY(present::print_json(rows));
    return 0;
}

}  // namespace chronos::cli
