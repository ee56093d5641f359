#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::ops::health {

/// Runs `command` by the shell with `input` on its standard input and `environment` ("NAME=value")
/// added to its own; what it prints goes to standard error. Kind execute if it fails or takes too
/// long, when it is killed.
Result<> run_shell_command(const std::string& command, const std::string& input,
                           const std::vector<std::string>& environment,
                           std::chrono::milliseconds timeout);

}  // namespace chronos::ops::health
