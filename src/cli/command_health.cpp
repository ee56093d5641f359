#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "cli/commands.h"
#include "cli/health_view.h"
#include "cli/per_repository.h"
#include "cli/server_commands.h"

namespace chronos::cli {
namespace {

using ops::health::Rule;
using ops::health::RuleState;

/// What the server says of itself; nothing where there is none to ask, or it does not answer.
std::optional<ops::health::ServerFacts> ask_server(Context& context) {
    const std::string pgdata = context.config.get_string("pg1-path");
    if (pgdata.empty() || !context.config.get_bool("online")) return std::nullopt;
    const auto ask = [&]() -> Result<ops::health::ServerFacts> {
        const auto connection = CHRONOS_TRY(connect_to_server(context));
        return ops::health::look_at_server(*connection, pgdata, unix_now());
    };
    auto facts = ask();
    if (facts) return std::move(facts).value();
    log_warn("unable to ask the server: " + facts.error().message());
    return std::nullopt;
}

std::string line_of(const Rule& rule) {
    std::string state(rule_state_name(rule.state));
    state.resize(10, ' ');
    std::string line = state + rule.name + ": " + rule.message + "\n";
    if (!rule.hint.empty()) line += std::string(10, ' ') + "HINT: " + rule.hint + "\n";
    return line;
}

Result<> print_view(const config::Config& config, const HealthView& view) {
    if (config.get_string("output") == "json")
        return print_json(
            {{"status", health_word(view.overall())}, {"rules", rules_json(view.rules)}});
    std::string text;
    for (const Rule& rule : view.rules) text += line_of(rule);
    return print(text);
}

}  // namespace

Result<int> run_health(Context& context) {
    const config::Config& config = context.config;
    const auto repositories = CHRONOS_TRY(open_repositories(config));
    HealthView view;
    ops::health::WalMemory memory;
    view.server = ask_server(context);
    view.snapshot = look_at_configured_repositories(
        config, repositories, memory, view.server ? view.server->last_archived_wal : "");
    view.now = unix_now();
    view.rules = ops::health::evaluate(view.snapshot, view.server, limits_of(config), view.now);
    CHRONOS_TRY(print_view(config, view));
    return view.overall() == RuleState::critical ? 1 : 0;
}

}  // namespace chronos::cli
