#include <filesystem>
#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/present/health_view.h"
#include "chronos/present/print.h"
#include "chronos/requests/health_look.h"
#include "chronos/requests/repositories.h"
#include "chronos/requests/server_commands.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using ops::health::Rule;
using ops::health::RuleState;

/// Whether there is a server to ask, and not only repositories to look at.
bool expects_server(const config::Config& config) {
    std::error_code failure;
    const bool there = std::filesystem::exists(config.get_string("pg1-path"), failure);
    return there || failure || config.has("pg1-socket-path");
}

/// What the server says of itself; an error also where there is none.
Result<ops::health::ServerFacts> ask_server(requests::Context& context) {
    const auto connection = CHRONOS_TRY(requests::connect_to_server(context));
    return ops::health::look_at_server(*connection, context.config.get_string("pg1-path"),
                                       unix_now());
}

/// Of this command, beside the rules that every way of asking has: what only the server knows is
/// unknown then, and that must not look as if all were well.
Rule server_rule(const Result<ops::health::ServerFacts>& facts) {
    Rule rule;
    rule.name = present::kSilentRule;
    rule.state = facts ? RuleState::ok : RuleState::critical;
    rule.message = facts ? "the server tells how it is"
                         : "the server cannot be asked: " + one_line(facts.error().message());
    if (!facts)
        rule.hint = (facts.error().hint().empty() ? "" : one_line(facts.error().hint()) + " ") +
                    "To look at the repositories alone: --no-online.";
    return rule;
}

std::string line_of(const Rule& rule) {
    std::string state(rule_state_name(rule.state));
    state.resize(10, ' ');
    std::string line = state + rule.name + ": " + rule.message + "\n";
    if (!rule.hint.empty()) line += std::string(10, ' ') + "HINT: " + rule.hint + "\n";
    return line;
}

Result<> print_view(const config::Config& config, const present::HealthView& view) {
    if (config.get_string("output") == "json")
        return present::print_json({{"status", present::health_word(view.overall())},
                                    {"rules", present::rules_json(view.rules)}});
    std::string text;
    for (const Rule& rule : view.rules) text += line_of(rule);
    return present::print_text(text);
}

}  // namespace

Result<int> run_health(requests::Context& context) {
    const config::Config& config = context.config;
    const auto repositories = CHRONOS_TRY(requests::open_repositories(config));
    present::HealthView view;
    ops::health::WalMemory memory;
    std::optional<Rule> silent;
    if (!config.get_string("pg1-path").empty() && config.get_bool("online")) {
        auto facts = ask_server(context);
        if (!facts) log_warn("unable to ask the server: " + facts.error().message());
        if (expects_server(config)) silent = server_rule(facts);
        if (facts) view.server = std::move(facts).value();
    }
    view.snapshot = requests::look_at_configured_repositories(
        config, repositories, memory, view.server ? view.server->last_archived_wal : "");
    view.now = unix_now();
    view.rules =
        ops::health::evaluate(view.snapshot, view.server, requests::limits_of(config), view.now);
    if (silent) view.rules.push_back(*std::move(silent));
    CHRONOS_TRY(print_view(config, view));
    return view.overall() == RuleState::critical ? 1 : 0;
}

}  // namespace chronos::cli
