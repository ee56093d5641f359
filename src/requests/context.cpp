#include "chronos/requests/context.h"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <exception>
#include <new>

#include "chronos/base/text.h"
#include "chronos/requests/places.h"

namespace chronos::requests {
std::string make_exec_id() {
    // Straight from the kernel: a short run must not pay for setting up a crypto library.
    std::array<std::byte, 4> random{};
    if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
        random.fill(std::byte{0});
    return std::to_string(getpid()) + "-" + to_hex(random);
}

Error not_in_this_version(const std::string& command) {
    return Error(ErrorKind::command_invalid,
                 "command '" + command + "' is not part of this version");
}

Result<int> run_guarded(Command command, Context& context) {
    try {
        // Here every door comes by: the command line, a job of the server, SQL.
        if (config::find_command(context.config.command())->changes_repositories)
            CHRONOS_TRY(check_places(context.config, ""));
        return command(context);
    } catch (const std::bad_alloc&) {
        return Error(ErrorKind::memory, "out of memory");
    } catch (const std::exception& exception) {
        return Error(ErrorKind::internal, exception.what());
    }
}

}  // namespace chronos::requests
