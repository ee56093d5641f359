#include "engine/output_relay.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace chronos::engine {

Result<std::unique_ptr<OutputRelay>> OutputRelay::start(Receiver receiver) {
    os::Pipe pipe = CHRONOS_TRY(os::make_pipe());
    os::FileDescriptor former(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10));
    if (!former.valid() || dup2(pipe.write_end.get(), STDOUT_FILENO) < 0)
        return system_error(ErrorKind::kernel, "redirect standard output", errno);
    return std::make_unique<OutputRelay>(std::move(receiver), std::move(pipe.read_end),
                                         std::move(former));
}

OutputRelay::OutputRelay(Receiver receiver, os::FileDescriptor read_end, os::FileDescriptor former)
    : former_(std::move(former)),
      reader_([receive = std::move(receiver), end = std::move(read_end)] {
          std::array<char, 65536> chunk;
          for (;;) {
              const ssize_t count = read(end.get(), chunk.data(), chunk.size());
              if (count < 0 && errno == EINTR) continue;
              if (count <= 0) return;
              receive({chunk.data(), static_cast<std::size_t>(count)});
          }
      }) {}

OutputRelay::~OutputRelay() {
    // The last writer of the pipe: the reader sees its end.
    dup2(former_.get(), STDOUT_FILENO);
}

}  // namespace chronos::engine
