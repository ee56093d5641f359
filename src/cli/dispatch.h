#pragma once

#include <string>
#include <string_view>

#include "cli/context.h"

namespace chronos::cli {

/// What runs a command; nullptr if it is not part of this version.
Command find_command_function(std::string_view name);
/// The error for one that is not.
Error not_in_this_version(const std::string& command);
/// The command, its exceptions turned into errors.
Result<int> run_guarded(Command command, Context& context);
/// Absolute path of the running executable.
std::string program_path();

/// The whole program: parses, prepares the process, runs the command and reports how it went.
/// Returns the exit status. Called once, from main(), before any thread exists.
int run_program(int argc, char** argv, char** environment);

}  // namespace chronos::cli
