#pragma once

#include <string_view>

#include "chronos/engine/channel.h"
#include "chronos/requests/context.h"

namespace chronos::engine {

/// What an engine runs that is not its own: main() knows it, and hands it over.
struct Parts {
    /// What runs a command of the command line; nullptr if it is not part of this version.
    requests::Command (*find_command)(std::string_view name);
    /// The same as a job of the server, whose output goes to logs and views that others read.
    requests::Command (*find_job)(std::string_view name);
    /// The role `serve`.
    Result<> (*serve_http)(requests::Context&, Channel&);
};

/// `chronos engine <role> <options>`: works for a server process at the other end of standard input
/// and output, as docs/protocol.md says. Returns the exit status, 0 or 1. Called once, from main(),
/// before any thread exists.
int run_engine(int argc, char** argv, char** environment, const Parts& parts);

}  // namespace chronos::engine
