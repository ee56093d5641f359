#pragma once

#include <string>
#include <vector>

#include "chronos/config/config.h"
#include "config/option_table.h"

namespace chronos::config {

/// One setting as somebody wrote it, before anybody looked at its value.
struct Given {
    enum class Form { set, negate, reset };

    const Option* option = nullptr;
    unsigned index = 0;
    Form form = Form::set;
    std::string text;
};

/// The arguments of the program, sorted into what they are.
struct CommandLine {
    const CommandInfo* command = nullptr;
    std::vector<Given> options;  ///< in the order written
    std::vector<std::string> parameters;
};

/// Names may be abbreviated as long as they are unique. Source: docs/format/configuration.md,
/// Command line.
Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments);

/// CHRONOS_X goes before PGBACKREST_X. Source: docs/format/configuration.md, Environment.
Result<std::vector<Given>> parse_environment(const std::vector<std::string>& environment,
                                             std::vector<std::string>& warnings);

/// Fails for a name that lacks its index, or has one that is out of range.
Result<> check_index(const NamedOption& named, std::string_view written);

}  // namespace chronos::config
