#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace chronos {

/// A snapshot of a running command, for whoever shows it: bar, lines, shared memory.
struct Progress {
    std::string phase;  ///< "start", "list", "copy", "stop", "wal", "manifest", "expire", ...
    std::uint64_t bytes_total = 0;
    std::uint64_t bytes_done = 0;
    std::uint64_t files_total = 0;
    std::uint64_t files_done = 0;
};

/// Called from any thread, one call at a time, at most a few times a second and at each change of
/// phase.
using ProgressReceiver = std::function<void(const Progress& progress)>;

}  // namespace chronos
