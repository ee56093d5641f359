#pragma once

#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/config/config.h"
#include "chronos/repo/repository.h"

namespace chronos::cli {

/// What a command gets. It outlives the command.
struct Context {
    const config::Config& config;
    Cancellation& cancel;       ///< requested by SIGINT, SIGTERM and SIGHUP
    ProgressReceiver progress;  ///< never empty; shows nothing where nobody wants it
    std::string program;        ///< absolute path of the running executable
    std::string invoked_as;     ///< last part of argv[0]: "pgbackrest" when it stands in for that
};

/// Returns the exit status. An error is printed by dispatch, which exits with the code of its kind.
using Command = Result<int> (*)(Context&);

/// The repository "repo<key>" as configured. The directory need not exist.
Result<repo::Repository> open_repository(const config::Config& config, unsigned key);
/// The one of `--repo`, or all in ascending order of their keys.
Result<std::vector<repo::Repository>> open_repositories(const config::Config& config);

/// "<process id>-<8 hexadecimal digits>", unique enough to tell runs apart in logs and lock files.
std::string make_exec_id();

/// Standard output, whole; SIGPIPE is ignored, so a reader who left is an error here.
Result<> print(std::string_view text);

}  // namespace chronos::cli
