#include <nlohmann/json.hpp>

#include "chronos/base/text.h"
#include "chronos/ops/hold/hold.h"
#include "chronos/present/print.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using ops::hold::HeldBackup;

Result<ops::hold::HoldRequest> hold_request(const config::Config& config) {
    ops::hold::HoldRequest request;
    request.stanza = config.stanza();
    request.repositories = CHRONOS_TRY(requests::open_repositories(config));
    request.lock_keys = requests::lock_keys(config);
    request.lock_path = config.get_string("lock-path");
    request.exec_id = config.get_string("exec-id");
    request.set = config.get_string("set");
    request.reason = config.get_string("reason");
    return request;
}

Result<> print_rows(const config::Config& config, const std::vector<HeldBackup>& held) {
    if (config.get_string("output") == "json") {
        nlohmann::json rows = nlohmann::json::array();
        for (const HeldBackup& one : held)
            rows.push_back({{"repo", one.repo_key},
                            {"label", one.label},
                            {"reason", one.reason},
                            {"since", one.since},
                            {"present", one.present}});
        return present::print_json(rows);
    }
    std::string text;
    for (const HeldBackup& one : held)
        text += "repo" + std::to_string(one.repo_key) + "  " + one.label + "  since " +
                format_local_time(one.since) + (one.present ? "" : "  (gone)") +
                (one.reason.empty() ? "" : "  " + printable(one.reason, SIZE_MAX)) + "\n";
    return present::print_text(text);
}

}  // namespace

Result<int> run_hold(requests::Context& context) {
    const config::Config& config = context.config;
    const ops::hold::HoldRequest request = CHRONOS_TRY(hold_request(config));
    const bool asked = request.set.empty();
    const auto held = CHRONOS_TRY(asked ? ops::hold::list(request) : ops::hold::hold(request));
    if (asked || config.has("output")) CHRONOS_TRY(print_rows(config, held));
    return 0;
}

Result<int> run_unhold(requests::Context& context) {
    const config::Config& config = context.config;
    const ops::hold::HoldRequest request = CHRONOS_TRY(hold_request(config));
    const auto released = CHRONOS_TRY(ops::hold::unhold(request));
    if (config.has("output")) CHRONOS_TRY(print_rows(config, released));
    return 0;
}

}  // namespace chronos::cli
