#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace chronos::config {

/// In alphabetical order, as help lists them.
enum class CommandId {
    annotate,
    archive_get,
    archive_push,
    backup,
    check,
    config_list,
    drill,
    engine,
    expire,
    health,
    help,
    hold,
    info,
    maintenance,
    rekey,
    repair,
    repo_get,
    repo_ls,
    repo_usage,
    restore,
    serve,
    stanza_claim,
    stanza_create,
    stanza_delete,
    stanza_upgrade,
    start,
    stop,
    unhold,
    verify,
    version,
};

/// What the command line and the log need to know of a command before it runs.
struct CommandInfo {
    CommandId id;
    std::string_view name;
    std::string_view summary;  ///< one sentence
    bool internal = false;     ///< not in help
    bool parameters = false;   ///< takes positional arguments
    bool log_file = false;     ///< writes `<log-path>/<stanza>-<command>.log`
    bool quiet = false;        ///< its result is its output: no "command begin" at level info
    bool changes_repositories = false;  ///< is refused where two of them are the same place
    std::string_view details = {};
};

std::span<const CommandInfo> command_table();
const CommandInfo& command_info(CommandId id);
/// The exact name.
const CommandInfo* find_command(std::string_view name);

}  // namespace chronos::config
