#include "cli/context.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <functional>

#include "chronos/base/text.h"

namespace chronos::cli {
namespace {

std::function<void()>& before_print() {
    static std::function<void()> before;
    return before;
}

}  // namespace

std::string make_exec_id() {
    // Straight from the kernel: a short run must not pay for setting up a crypto library.
    std::array<std::byte, 4> random{};
    if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
        random.fill(std::byte{0});
    return std::to_string(getpid()) + "-" + to_hex(random);
}

void set_before_print(std::function<void()> before) {
    before_print() = std::move(before);
}

Result<> print(std::string_view text) {
    if (before_print()) before_print()();
    while (!text.empty()) {
        const ssize_t size = write(STDOUT_FILENO, text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0)
            return system_error(ErrorKind::file_write, "unable to write standard output", errno);
        text.remove_prefix(static_cast<std::size_t>(size));
    }
    return {};
}

Result<> print_text(std::string_view text) {
    return print(without_controls(text));
}

}  // namespace chronos::cli
