#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>

#include "cli/dispatch.h"
#include "cli/engine_roles.h"

namespace chronos::cli {
namespace {

using control::Message;

/// Standard output of this process, as messages, from construction to destruction.
class OutputRelay {
public:
    static Result<std::unique_ptr<OutputRelay>> start(EngineChannel& channel) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0)
            return system_error(ErrorKind::kernel, "make a pipe", errno);
        io::FileDescriptor read_end(ends[0]);
        io::FileDescriptor write_end(ends[1]);
        io::FileDescriptor former(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10));
        if (!former.valid() || dup2(write_end.get(), STDOUT_FILENO) < 0)
            return system_error(ErrorKind::kernel, "redirect standard output", errno);
        return std::make_unique<OutputRelay>(channel, std::move(read_end), std::move(former));
    }

    OutputRelay(EngineChannel& channel, io::FileDescriptor read_end, io::FileDescriptor former)
        : former_(std::move(former)), reader_([&channel, end = std::move(read_end)] {
              std::array<char, 65536> chunk;
              for (;;) {
                  const ssize_t count = read(end.get(), chunk.data(), chunk.size());
                  if (count < 0 && errno == EINTR) continue;
                  if (count <= 0) return;
                  channel.send(Message("output").with(
                      "text", std::string_view(chunk.data(), static_cast<std::size_t>(count))));
              }
          }) {}
    ~OutputRelay() {
        // The last writer of the pipe: the reader sees its end.
        dup2(former_.get(), STDOUT_FILENO);
    }

private:
    io::FileDescriptor former_;
    std::jthread reader_;  // joined before anything else is destroyed
};

}  // namespace

Result<> serve_command(Context& context, EngineChannel& channel) {
    const Command command = find_command_function(context.config.command());
    if (command == nullptr)
        return Error(ErrorKind::command_invalid,
                     "command '" + context.config.command() + "' is not part of this version");
    int status = 0;
    {
        const auto relay = CHRONOS_TRY(OutputRelay::start(channel));
        status = CHRONOS_TRY(run_guarded(command, context));
    }
    channel.send(Message("done").with("status", static_cast<std::uint64_t>(status)));
    return {};
}

}  // namespace chronos::cli
