#include "chronos/requests/log_settings.h"

#include <unistd.h>

#include "chronos/config/command.h"

namespace chronos::requests {

present::LogSettings log_settings(const config::Config& config) {
    const config::CommandInfo* command = config::find_command(config.command());
    present::LogSettings settings;
    settings.console = present::log_level_of(config.get_string("log-level-console"));
    settings.standard_error = present::log_level_of(config.get_string("log-level-stderr"));
    settings.file = present::log_level_of(config.get_string("log-level-file"));
    // Where standard output carries a result for a program, a warning in it would break the reader.
    settings.result_on_output = (config.has("output") && config.get_string("output") != "text") ||
                                (command != nullptr && command->quiet);
    settings.timestamp = config.get_bool("log-timestamp");
    settings.dry_run = config.get_bool("dry-run");
    settings.json = config.get_string("log-format") == "json";
    if (command != nullptr && command->log_file)
        settings.path = config.get_string("log-path") + "/" +
                        (config.stanza().empty() ? "all" : config.stanza()) + "-" +
                        config.command() + ".log";
    settings.path_was_given = config.has("log-path");
    settings.origin = {config.command(), config.stanza(), getpid()};
    return settings;
}

}  // namespace chronos::requests
