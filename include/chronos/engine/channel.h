#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"
#include "chronos/control/message.h"
#include "chronos/os/file.h"

namespace chronos::engine {

/// The engine's end of the control channel. Takes standard input and output for itself: what else
/// writes to standard output goes to standard error then, where it cannot be taken for a message.
class Channel {
public:
    static Result<std::unique_ptr<Channel>> take_over();
    Channel(os::FileDescriptor in, os::FileDescriptor out)
        : in_(std::move(in)), out_(std::move(out)) {}

    /// Waits for the next message; nullopt at the end of the channel. Kind cancelled when that is
    /// requested meanwhile, protocol if what comes is no message. One thread at a time.
    Result<std::optional<control::Message>> receive(const Cancellation& cancel);

    /// Whole messages, from any thread. Nothing happens once the server does not listen any more:
    /// the guard sees that too and ends the process. One that is too long is replaced by `failed`.
    void send(const control::Message& message);
    /// `failed` with code, message and hint, about a file or ("") about the engine as a whole.
    void send_failure(const Error& error, std::string_view file = "");

private:
    Result<bool> fill(const Cancellation& cancel);

    os::FileDescriptor in_;
    os::FileDescriptor out_;
    control::LineBuffer lines_;
    std::mutex mutex_;
};

}  // namespace chronos::engine
