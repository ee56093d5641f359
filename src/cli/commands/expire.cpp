#include <nlohmann/json.hpp>

#include "chronos/present/failures.h"
#include "chronos/present/print.h"
#include "chronos/requests/expire_options.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using ops::expire::Decision;

nlohmann::json as_json(const std::vector<Decision>& decisions) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Decision& decision : decisions)
        rows.push_back({{"repo", decision.repo_key},
                        {"object", ops::expire::what_name(decision.what)},
                        {"name", decision.name},
                        {"action", decision.removed ? "remove" : "keep"},
                        {"reason", decision.reason}});
    return rows;
}

std::string padded(std::string_view text, std::size_t width) {
    std::string result(text);
    result.resize(std::max(width, text.size()), ' ');
    return result;
}

std::string as_text(const std::vector<Decision>& decisions) {
    std::size_t width = 0;
    for (const Decision& decision : decisions) width = std::max(width, decision.name.size());
    std::string text;
    for (const Decision& decision : decisions)
        text += "repo" + std::to_string(decision.repo_key) + "  " +
                (decision.removed ? "remove  " : "keep    ") +
                padded(ops::expire::what_name(decision.what), 18) + padded(decision.name, width) +
                "  " + decision.reason + "\n";
    return text;
}

}  // namespace

Result<int> run_expire(requests::Context& context) {
    const config::Config& config = context.config;
    ops::expire::ExpireRequest request = CHRONOS_TRY(requests::expire_request(config));
    request.set = config.get_string("set");
    request.oldest = config.get_bool("oldest");
    request.archive_expire_before = config.get_string("archive-expire-before");
    request.dry_run = config.get_bool("dry-run");
    const auto outcome = CHRONOS_TRY(ops::expire::run_expire(request, context.cancel));
    if (config.get_string("output") == "json")
        CHRONOS_TRY(present::print_json(as_json(outcome.decisions)));
    else if (request.dry_run || config.has("output"))
        CHRONOS_TRY(present::print_text(as_text(outcome.decisions)));
    CHRONOS_TRY(present::report_failures("expire", outcome.failures));
    return 0;
}

}  // namespace chronos::cli
