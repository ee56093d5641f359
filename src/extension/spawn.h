#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::extension {

/// A started program. Its standard input and output are one end of a socket pair, ours is
/// `channel`; what it writes to standard error arrives in `errors`. Both are non-blocking,
/// close-on-exec and belong to the caller, who also reaps `pid`.
struct Child {
    pid_t pid = -1;
    int channel = -1;
    int errors = -1;
};

/// Starts `path` as a child that shares nothing with the server: a process group of its own, every
/// signal at its default, no descriptor but 0-2, no core file (it would hold keys and user data),
/// SIGTERM when the calling process dies. Kind execute if it cannot be started, with the reason.
///
/// For a process with one thread, as server processes are.
Result<Child> spawn(const std::string& path, const std::vector<std::string>& arguments,
                    const std::vector<std::string>& environment);

}  // namespace chronos::extension
