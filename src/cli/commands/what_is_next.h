#pragma once

#include <string>

#include "chronos/base/result.h"
#include "chronos/config/config.h"

namespace chronos::cli {

/// Into the log, and to whoever waits for the end, whom a log of errors and warnings does not tell.
/// Who turned it off wants a restore as silent as that of pgBackRest.
Result<> tell_what_is_next(const config::Config& config, const std::string& text);

}  // namespace chronos::cli
