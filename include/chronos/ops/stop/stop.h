#pragma once

#include <string>

#include "chronos/base/result.h"

namespace chronos::ops::stop {

struct StopRequest {
    std::string stanza;  ///< "" for all
    std::string lock_path;
    bool force = false;  ///< of stop: end the commands that run
};

/// From now on commands of either tool that write refuse to run, WAL pushes included. Warns if
/// that was so before. Source: docs/format/locks.md, Stop files.
Result<> stop(const StopRequest& request);
/// Undoes stop(); warns if there is nothing to undo.
Result<> start(const StopRequest& request);

}  // namespace chronos::ops::stop
