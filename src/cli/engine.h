#pragma once

namespace chronos::cli {

/// `chronos engine <role> <options>`: works for a server process at the other end of standard input
/// and output, as docs/protocol.md says. Returns the exit status, 0 or 1. Called once, from main(),
/// before any thread exists.
int run_engine(int argc, char** argv, char** environment);

}  // namespace chronos::cli
