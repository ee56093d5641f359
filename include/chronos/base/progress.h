#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace chronos {

/// What the threads of a copy have spent their time on so far, all together, and what came of it.
struct StageTimes {
    std::uint64_t read_ms = 0;     ///< reading the source
    std::uint64_t compute_ms = 0;  ///< the rest: checksums, compression, encryption, no processor
    std::uint64_t store_ms = 0;    ///< handing over to the storage, and waiting for it
    std::uint64_t clock_ms = 0;    ///< waiting until the clock has left the second of the list
    std::uint64_t stored_bytes = 0;

    std::uint64_t total_ms() const { return read_ms + compute_ms + store_ms + clock_ms; }
};

/// A snapshot of a running command, for whoever shows it: bar, lines, shared memory.
struct Progress {
    std::string phase;  ///< "start", "list", "copy", "stop", "wal", "manifest", "expire", ...
    std::uint64_t bytes_total = 0;
    std::uint64_t bytes_done = 0;
    std::uint64_t files_total = 0;
    std::uint64_t files_done = 0;
    StageTimes stages = {};  ///< where they are known
};

/// Called from any thread, one call at a time, at most a few times a second and at each change of
/// phase.
using ProgressReceiver = std::function<void(const Progress& progress)>;

}  // namespace chronos
