#include "chronos/config/help.h"

#include "chronos/present/print.h"
#include "cli/commands/commands.h"

namespace chronos::cli {
namespace {

Result<std::string> help_text(const config::Config& config) {
    const std::vector<std::string>& words = config.parameters();
    const std::string output = config.get_string("output");
    if (output == "markdown") return config::options_markdown();
    if (output == "bash") return config::bash_completion();
    if (output == "man")
        return words.empty() ? config::manual_page() : config::configuration_page();
    if (words.empty()) return config::general_help();
    if (words.size() == 1) return config::command_help(words[0]);
    if (words.size() == 2) return config::option_help(words[0], words[1]);
    return Error(ErrorKind::param_invalid, "extra parameters found")
        .with_hint("Use 'chronos help [command] [option]'.");
}

}  // namespace

Result<int> run_help(requests::Context& context) {
    const std::string text = CHRONOS_TRY(help_text(context.config));
    CHRONOS_TRY(present::print(text));
    return 0;
}

}  // namespace chronos::cli
