#include "chronos/engine/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "chronos/base/text.h"

namespace chronos::engine {
namespace {

constexpr int kPollMs = 200;  ///< how late a request to stop is noticed at most

/// Away from the standard numbers, and not inherited by anything that is started.
os::FileDescriptor move_up(int fd) {
    return os::FileDescriptor(fcntl(fd, F_DUPFD_CLOEXEC, 10));
}

}  // namespace

Result<std::unique_ptr<Channel>> Channel::take_over() {
    os::FileDescriptor in = move_up(STDIN_FILENO);
    os::FileDescriptor out = move_up(STDOUT_FILENO);
    const os::FileDescriptor nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!in.valid() || !out.valid() || !nothing.valid())
        return system_error(ErrorKind::protocol, "take over the control channel", errno);
    dup2(nothing.get(), STDIN_FILENO);
    if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) dup2(nothing.get(), STDOUT_FILENO);
    return std::make_unique<Channel>(std::move(in), std::move(out));
}

Result<std::optional<control::Message>> Channel::receive(const Cancellation& cancel) {
    for (;;) {
        if (const std::optional<std::string> line = lines_.next_line()) {
            std::optional<control::Message> message = control::decode(*line);
            if (message) return message;
            return Error(ErrorKind::protocol,
                         "the server sent what is no message: '" + printable(*line) + "'");
        }
        if (!CHRONOS_TRY(fill(cancel))) return std::optional<control::Message>{};
    }
}

/// False at the end of the channel.
Result<bool> Channel::fill(const Cancellation& cancel) {
    std::array<char, 65536> chunk;
    for (;;) {
        CHRONOS_TRY(cancel.check());
        pollfd event = {in_.get(), POLLIN, 0};
        if (poll(&event, 1, kPollMs) <= 0) continue;
        const ssize_t count = read(in_.get(), chunk.data(), chunk.size());
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (count < 0) return system_error(ErrorKind::protocol, "read from the server", errno);
        if (count == 0) return false;
        if (lines_.append({chunk.data(), static_cast<std::size_t>(count)})) return true;
        return Error(ErrorKind::protocol, "the server sent a line that is too long");
    }
}

void Channel::send(const control::Message& message) {
    std::string line = control::encode(message);
    if (line.size() > control::kLineSizeMax)
        line = control::encode(
            control::Message("failed")
                .with("code", static_cast<std::uint64_t>(ErrorKind::protocol))
                .with("message", "a message '" + message.verb + "' was too long to be sent"));
    const std::lock_guard lock(mutex_);
    for (std::string_view rest = line; !rest.empty();) {
        const ssize_t count = write(out_.get(), rest.data(), rest.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) {
            pollfd event = {out_.get(), POLLOUT, 0};
            poll(&event, 1, kPollMs);
            continue;
        }
        if (count < 0) return;
        rest.remove_prefix(static_cast<std::size_t>(count));
    }
}

void Channel::send_failure(const Error& error, std::string_view file) {
    control::Message message("failed");
    if (!file.empty()) message.fields.emplace_back("file", file);
    send(std::move(message)
             .with("code", static_cast<std::uint64_t>(error.kind()))
             .with("message", error.message())
             .with("hint", error.hint()));
}

}  // namespace chronos::engine
