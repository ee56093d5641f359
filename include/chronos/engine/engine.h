#pragma once

#include <chrono>
#include <string_view>

#include "chronos/engine/channel.h"
#include "chronos/engine/guard.h"
#include "chronos/requests/context.h"

namespace chronos::engine {

/// What an engine runs that is not its own: main() knows it, and hands it over.
struct Parts {
    /// What runs a command of the command line; nullptr if it is not part of this version.
    requests::Command (*find_command)(std::string_view name);
    /// The same as a job of the server, whose output goes to logs and views that others read.
    requests::Command (*find_job)(std::string_view name);
    /// Whether a job is to have mounts that nobody else sees, which a process can get only before
    /// it has a second thread. That it gets none is no failure yet: the command says why.
    bool (*has_own_mounts)(const config::Config& config);
    /// What a job gets, once it is asked to end, to take back what it has made.
    std::chrono::seconds (*time_to_end)(std::string_view name);
    /// The role `serve`.
    Result<> (*serve_http)(requests::Context&, Channel&);
};

/// `chronos engine <role> <options>`: works for a server process at the other end of standard input
/// and output, as docs/protocol.md says. Returns the exit status, 0 or 1. Called once, from main(),
/// before any thread exists.
int run_engine(int argc, char** argv, char** environment, const Parts& parts);

}  // namespace chronos::engine
