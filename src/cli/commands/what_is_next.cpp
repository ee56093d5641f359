#include "cli/commands/what_is_next.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/present/log_output.h"
#include "chronos/present/print.h"

namespace chronos::cli {

Result<> tell_what_is_next(const config::Config& config, const std::string& text) {
    if (text.empty()) return {};
    log_info(trim(text));
    const LogLevel console = present::log_level_of(config.get_string("log-level-console"));
    const LogLevel standard_error = present::log_level_of(config.get_string("log-level-stderr"));
    if (console == LogLevel::off || std::max(console, standard_error) >= LogLevel::info) return {};
    return present::print_text(text);
}

}  // namespace chronos::cli
