#include <algorithm>
#include <nlohmann/json.hpp>

#include "chronos/base/text.h"
#include "chronos/ops/repair/repair.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/present/failures.h"
#include "chronos/present/print.h"
#include "chronos/requests/repositories.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

using ops::repair::State;
using ops::repair::Step;

// What the exit status says besides 0, nothing is left to do, and the codes of errors.
constexpr int kSomethingToDo = 2;
constexpr int kCannotBeMended = 3;

/// Of the configured data directory: a help where nothing else tells, and no error if it is away.
std::optional<repo::ClusterIdentity> cluster_at_hand(const config::Config& config) {
    const std::string pgdata = config.get_string("pg1-path");
    if (pgdata.empty()) return std::nullopt;
    const auto control = pgdata::read_control_file(pgdata);
    return control ? std::optional(repo::ClusterIdentity::of(*control)) : std::nullopt;
}

std::string as_text(unsigned repo_key, const std::vector<Step>& steps, bool force) {
    const std::string repo = "repo" + std::to_string(repo_key);
    if (steps.empty()) return repo + ": nothing to repair\n";
    std::string text;
    for (const Step& step : steps) {
        text += repo + ": " + printable(step.object, 1024) + " " + step.wrong + "\n";
        text += step.state == State::done    ? "    done: "
                : step.state == State::to_do ? "    would be "
                                             : "    cannot be mended here: ";
        text += step.remedy + "\n";
    }
    const bool to_do =
        std::ranges::any_of(steps, [](const Step& step) { return step.state == State::to_do; });
    if (to_do && !force) text += repo + ": nothing was changed; --force does it\n";
    return text;
}

void append_json(nlohmann::json& rows, unsigned repo_key, const std::vector<Step>& steps) {
    for (const Step& step : steps)
        rows.push_back({{"repo", repo_key},
                        {"object", step.object},
                        {"wrong", step.wrong},
                        {"remedy", step.remedy},
                        {"state", ops::repair::state_name(step.state)}});
}

int status_of(const std::vector<Step>& steps) {
    int status = 0;
    for (const Step& step : steps) {
        if (step.state == State::cannot) return kCannotBeMended;
        if (step.state == State::to_do) status = kSomethingToDo;
    }
    return status;
}

}  // namespace

Result<int> run_repair(requests::Context& context) {
    const config::Config& config = context.config;
    const bool force = config.get_bool("force");
    const bool json = config.get_string("output") == "json";
    nlohmann::json rows = nlohmann::json::array();
    std::vector<std::pair<unsigned, Error>> failures;
    int status = 0;
    for (const repo::Repository& repository : CHRONOS_TRY(requests::open_repositories(config))) {
        const auto steps = ops::repair::repair({.repository = repository,
                                                .stanza = config.stanza(),
                                                .force = force,
                                                .cluster = cluster_at_hand(config),
                                                .lock_path = config.get_string("lock-path"),
                                                .exec_id = config.get_string("exec-id")},
                                               context.cancel);
        if (!steps) {
            failures.emplace_back(repository.key, steps.error());
            continue;
        }
        append_json(rows, repository.key, *steps);
        if (!json) CHRONOS_TRY(present::print_text(as_text(repository.key, *steps, force)));
        status = std::max(status, status_of(*steps));
    }
    if (json) CHRONOS_TRY(present::print_json(rows));
    // Of one repository the error is said as it is.
    if (failures.size() == 1 && config.repo_keys().size() == 1) return failures.front().second;
    CHRONOS_TRY(present::report_failures("repair", failures));
    return status;
}

}  // namespace chronos::cli
