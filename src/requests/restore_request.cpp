#include "chronos/requests/restore_request.h"

#include <algorithm>

#include "chronos/base/quote.h"

#include "chronos/requests/repositories.h"

namespace chronos::requests {
namespace {

/// "--name=value" with only the value in quotes, as pgBackRest writes it.
std::string option_word(const std::string& option) {
    const std::size_t equal = option.find('=');
    if (equal == std::string::npos) return option;
    return option.substr(0, equal + 1) + server_command_word(option.substr(equal + 1));
}

/// What options are sorted by: the name without "--" and "no-".
std::string_view option_name(std::string_view option) {
    option.remove_prefix(2);
    if (option.starts_with("no-")) option.remove_prefix(3);
    return option.substr(0, option.find('='));
}

/// Type and target of the recovery.
void set_recovery(const Context& context, ops::restore::RestoreRequest& request) {
    const config::Config& config = context.config;
    if (config.has("type"))
        request.type = ops::restore::parse_recovery_type(config.get_string("type"));
    request.target = config.get_string("target");
    request.target_timeline = config.get_string("target-timeline");
    request.target_exclusive = config.get_bool("target-exclusive");
    request.target_action = ops::restore::parse_target_action(config.get_string("target-action"))
                                .value_or(ops::restore::TargetAction::pause);
    request.recovery_options = config.get_hash("recovery-option");
    request.archive_mode_off = config.get_string("archive-mode") == "off";
    request.restore_command = make_restore_command(context);
}

}  // namespace

/// What the environment of this process said will not be there when PostgreSQL starts the command,
/// so stanza and data directory are added.
std::string make_restore_command(const Context& context, const std::string& pg_path,
                                 const std::string& spool_path) {
    const config::Config& config = context.config;
    std::vector<std::string> options = config.command_line_options("archive-get");
    const auto add = [&](config::Name option, const std::string& value) {
        options.push_back("--" + written(option) + "=" + value);
    };
    const auto add_missing = [&](config::Name option, const std::string& value) {
        if (config.source(option) == config::Source::environment) add(option, value);
    };
    const auto drop = [&](config::Name name) {
        std::erase_if(options, [&](const std::string& option) {
            return option.starts_with("--" + written(name) + "=");
        });
    };
    const auto replace = [&](config::Name option, const std::string& value) {
        drop(option);
        add(option, value);
    };
    // How this command prints is nothing to archive-get, which has an option of that name too.
    drop("output");
    add_missing("stanza", config.stanza());
    if (pg_path.empty())
        add_missing("pg1-path", config.get_string("pg1-path"));
    else
        replace("pg1-path", pg_path);
    if (!spool_path.empty()) replace("spool-path", spool_path);
    std::ranges::sort(options, {}, option_name);
    std::string command =
        server_command_word(config.has("cmd") ? config.get_string("cmd") : context.program);
    for (const std::string& option : options) command += " " + option_word(option);
    return command + " archive-get %f \"%p\"";
}

Result<ops::restore::RestoreRequest> restore_request(const Context& context) {
    const config::Config& config = context.config;
    ops::restore::RestoreRequest request;
    request.repositories = CHRONOS_TRY(open_repositories(config));
    request.other_repositories = open_other_repositories(config);
    request.stanza = config.stanza();
    request.pg_path = config.get_string("pg1-path");
    request.set = config.get_string("set");
    set_recovery(context, request);
    request.delta = config.get_bool("delta");
    request.save_current = config.get_bool("save-current");
    request.reason = config.get_string("reason");
    request.force = config.get_bool("force");
    request.page_errors_stop =
        !config.has("checksum-page-error") || config.get_bool("checksum-page-error");
    request.tablespace_map = config.get_hash("tablespace-map");
    request.tablespace_map_all = config.get_string("tablespace-map-all");
    request.link_map = config.get_hash("link-map");
    request.link_all = config.get_bool("link-all");
    request.db_include = config.get_list("db-include");
    request.db_exclude = config.get_list("db-exclude");
    request.process_max = static_cast<unsigned>(config.get_int("process-max"));
    request.spool_path = config.get_string("spool-path");
    request.lock_path = config.get_string("lock-path");
    request.exec_id = config.get_string("exec-id");
    return request;
}

}  // namespace chronos::requests
