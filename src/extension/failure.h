#pragma once

#include <cstddef>

namespace chronos::extension {

/// How a call from the server's side into the C++ side ended. Plain memory, because it crosses the
/// line between code that may be left by ereport() and code that has destructors
/// (engine_process.h).
struct Failure {
    bool happened = false;
    char message[1024] = "";
    char hint[512] = "";
};

}  // namespace chronos::extension
