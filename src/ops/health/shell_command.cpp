#include "ops/health/shell_command.h"

#include <sys/wait.h>

#include "chronos/os/process.h"

namespace chronos::ops::health {

Result<> run_shell_command(const std::string& command, const std::string& input,
                           const std::vector<std::string>& environment,
                           std::chrono::milliseconds timeout) {
    os::Command shell = os::shell_command(command);
    shell.environment = os::environment_with(environment);
    shell.output = os::Output::as_error_messages;
    shell.input = input;
    const os::Ended ended = CHRONOS_TRY(os::run(shell, {timeout}, [](std::string_view) {}));
    if (ended.success()) return {};
    if (ended.how == os::Ended::How::timed_out)
        return Error(ErrorKind::execute, "it takes too long and was killed");
    return Error(ErrorKind::execute, (WIFSIGNALED(ended.status) ? "killed by " : "") +
                                         os::describe_status(ended.status));
}

}  // namespace chronos::ops::health
