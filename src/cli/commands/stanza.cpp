#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "chronos/present/print.h"
#include "chronos/repo/info.h"
#include "chronos/repo/side/owner.h"
#include "chronos/requests/places.h"
#include "chronos/requests/repositories.h"
#include "chronos/requests/server_commands.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

Result<ops::stanza::StanzaRequest> stanza_request(const config::Config& config) {
    auto repositories = CHRONOS_TRY(requests::open_repositories(config));
    return ops::stanza::StanzaRequest{config.stanza(), std::move(repositories),
                                      config.get_string("lock-path"), config.get_string("exec-id"),
                                      config.get_string("spool-path")};
}

nlohmann::json as_json(const ops::stanza::StanzaOutcome& outcome) {
    const bool upgraded = outcome.state == repo::StanzaOutcome::upgraded;
    return {{"repo", outcome.repo_key},
            {"action", upgraded ? "upgraded" : "none"},
            {"reason", upgraded ? "the cluster was not the current one of the stanza"
                                : "the stanza is already up to date"}};
}

}  // namespace

Result<int> run_stanza_claim(requests::Context& context) {
    const config::Config& config = context.config;
    const auto self = CHRONOS_TRY(repo::identify_server(config.get_string("pg1-path")));
    for (const repo::Repository& repository : CHRONOS_TRY(requests::open_repositories(config))) {
        CHRONOS_TRY(repo::load_archive_info(repository, config.stanza()));
        CHRONOS_TRY(repo::StanzaOwner(repository, config.stanza()).claim(self));
        log_info("stanza '" + config.stanza() + "' on repo" + std::to_string(repository.key) +
                 " belongs to " + repo::describe(self));
    }
    return 0;
}

Result<int> run_stanza_create(requests::Context& context) {
    const config::Config& config = context.config;
    // Runbooks have it. A stanza that is half lost is not overwritten, whatever is asked.
    if (config.get_bool("force")) log_warn("option --force is no longer supported");
    if (config.get_bool("online")) {
        const auto connection = CHRONOS_TRY(requests::connect_to_server(context));
        CHRONOS_TRY(requests::create_stanza_over(context, *connection));
        return 0;
    }
    const auto control = CHRONOS_TRY(pgdata::read_control_file(config.get_string("pg1-path")));
    CHRONOS_TRY(requests::check_places(config, config.get_string("pg1-path")));
    const auto request = CHRONOS_TRY(stanza_request(config));
    CHRONOS_TRY(ops::stanza::create_stanza(request, control));
    return 0;
}

Result<int> run_stanza_upgrade(requests::Context& context) {
    const config::Config& config = context.config;
    pgdata::ControlFile control;
    if (config.get_bool("online")) {
        const auto connection = CHRONOS_TRY(requests::connect_to_server(context));
        control = CHRONOS_TRY(requests::control_file_over(context, *connection));
    } else {
        control = CHRONOS_TRY(pgdata::read_control_file(config.get_string("pg1-path")));
    }
    const auto request = CHRONOS_TRY(stanza_request(config));
    const auto outcomes = CHRONOS_TRY(ops::stanza::upgrade_stanza(request, control));
    nlohmann::json rows = nlohmann::json::array();
    for (const ops::stanza::StanzaOutcome& outcome : outcomes) rows.push_back(as_json(outcome));
    if (config.get_string("output") == "json") CHRONOS_TRY(present::print_json(rows));
    return 0;
}

Result<int> run_stanza_delete(requests::Context& context) {
    const config::Config& config = context.config;
    // What cannot be undone must be named.
    if (!config.has("repo") && config.repo_keys() != std::vector{1u})
        return Error(ErrorKind::option_required, "stanza-delete command requires option: repo")
            .with_hint("this command requires a specific repository to operate on");
    ops::stanza::DeleteRequest request;
    request.stanza = config.stanza();
    request.repository = CHRONOS_TRY(requests::open_repositories(config)).front();
    request.lock_path = config.get_string("lock-path");
    request.exec_id = config.get_string("exec-id");
    request.pgdata = config.get_string("pg1-path");
    request.force = config.get_bool("force");
    CHRONOS_TRY(ops::stanza::delete_stanza(request));
    return 0;
}

}  // namespace chronos::cli
