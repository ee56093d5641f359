#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "chronos/base/result.h"
#include "chronos/os/file.h"

namespace chronos::engine {

/// Hands over what this process writes to standard output, from construction to destruction: it is
/// for a command that runs in an engine, where nobody reads it.
class OutputRelay {
public:
    /// Called from a thread of the relay, never after its destruction.
    using Receiver = std::function<void(std::string_view chunk)>;

    static Result<std::unique_ptr<OutputRelay>> start(Receiver receiver);
    OutputRelay(Receiver receiver, os::FileDescriptor read_end, os::FileDescriptor former);
    ~OutputRelay();
    OutputRelay(const OutputRelay&) = delete;
    OutputRelay& operator=(const OutputRelay&) = delete;

private:
    os::FileDescriptor former_;
    std::jthread reader_;  // joined before anything else is destroyed
};

}  // namespace chronos::engine
