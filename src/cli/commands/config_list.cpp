#include <nlohmann/json.hpp>

#include "chronos/present/json_text.h"
#include "chronos/present/print.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

std::string_view source_name(config::Source source) {
    switch (source) {
        case config::Source::default_value: return "default";
        case config::Source::file: return "configuration file";
        case config::Source::environment: return "environment variable";
        case config::Source::command_line: return "command line";
    }
    return "unknown";
}

/// What is wrong with the configuration goes along: who looks at it should see that.
std::string as_json(const std::vector<config::ListedOption>& options,
                    const std::vector<std::string>& warnings) {
    nlohmann::json result = nlohmann::json::array();
    for (const config::ListedOption& option : options)
        result.push_back({{"name", option.name},
                          {"value", option.value},
                          {"source", source_name(option.source)},
                          {"description", option.summary}});
    for (const std::string& warning : warnings)
        result.push_back({{"name", "(warning)"},
                          {"value", warning},
                          {"source", source_name(config::Source::file)},
                          {"description", "ignored, or read otherwise than it looks"}});
    // What stands in the file need not be UTF-8.
    return present::text_of(result);
}

std::string as_text(const std::vector<config::ListedOption>& options) {
    std::string result;
    for (const config::ListedOption& option : options)
        result += option.name + "=" + option.value + "  # " +
                  std::string(source_name(option.source)) + "\n";
    return result;
}

}  // namespace

Result<int> run_config_list(requests::Context& context) {
    const std::vector<config::ListedOption> options = context.config.list();
    const bool json = context.config.get_string("output") == "json";
    CHRONOS_TRY(json ? present::print(as_json(options, context.config.warnings()))
                     : present::print_text(as_text(options)));
    return 0;
}

}  // namespace chronos::cli
