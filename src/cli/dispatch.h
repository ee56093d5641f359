#pragma once

namespace chronos::cli {

/// The whole program: parses, prepares the process, runs the command and reports how it went.
/// Returns the exit status. Called once, from main(), before any thread exists.
int run_program(int argc, char** argv, char** environment);

}  // namespace chronos::cli
