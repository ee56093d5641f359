#pragma once

#include <string_view>

#include "chronos/engine/engine.h"
#include "chronos/requests/context.h"

namespace chronos::cli {

/// What runs a command; nullptr if it is not part of this version.
requests::Command find_command_function(std::string_view name);
/// The same as a job of the server, whose output goes to logs and views that others read.
requests::Command find_job_function(std::string_view name);

/// What an engine of this program runs.
engine::Parts engine_parts();

/// The whole program: parses, prepares the process, runs the command and reports how it went.
/// Returns the exit status. Called once, from main(), before any thread exists.
int run_program(int argc, char** argv, char** environment);

}  // namespace chronos::cli
