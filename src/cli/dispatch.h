#pragma once

#include <string_view>

#include "cli/context.h"
#include "cli/engine.h"

namespace chronos::cli {

/// What runs a command; nullptr if it is not part of this version.
Command find_command_function(std::string_view name);
/// The same as a job of the server, whose output goes to logs and views that others read.
Command find_job_function(std::string_view name);

/// What an engine of this program runs.
EngineParts engine_parts();

/// The whole program: parses, prepares the process, runs the command and reports how it went.
/// Returns the exit status. Called once, from main(), before any thread exists.
int run_program(int argc, char** argv, char** environment);

}  // namespace chronos::cli
