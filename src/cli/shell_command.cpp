#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "chronos/base/cancel.h"
#include "chronos/os/file.h"
#include "cli/alert.h"

namespace chronos::cli {
namespace {

/// An unlinked file rather than a pipe: a command that reads nothing cannot hold us up.
Result<os::FileDescriptor> file_with(const std::string& text) {
    os::FileDescriptor file(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file.valid()) return system_error(ErrorKind::execute, "make a file for its input", errno);
    if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        lseek(file.get(), 0, SEEK_SET) != 0)
        return system_error(ErrorKind::execute, "write its input", errno);
    return file;
}

Result<pid_t> start_shell(const std::string& command, int input,
                          std::vector<std::string> environment) {
    for (char** variable = environ; *variable != nullptr; ++variable)
        environment.emplace_back(*variable);
    std::vector<char*> variables;
    for (std::string& variable : environment) variables.push_back(variable.data());
    variables.push_back(nullptr);
    std::string shell = "sh", flag = "-c", text = command;
    char* arguments[] = {shell.data(), flag.data(), text.data(), nullptr};

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);  // so that all it starts can be killed with it
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    pid_t pid = -1;
    const int failure =
        posix_spawn(&pid, "/bin/sh", &files, &attributes, arguments, variables.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (failure != 0) return system_error(ErrorKind::execute, "start /bin/sh", failure);
    return pid;
}

}  // namespace

Result<> run_shell_command(const std::string& command, const std::string& input,
                           const std::vector<std::string>& environment,
                           std::chrono::milliseconds timeout) {
    const auto file = CHRONOS_TRY(file_with(input));
    const pid_t pid = CHRONOS_TRY(start_shell(command, file.get(), environment));
    const Deadline deadline(timeout);
    int status = 0;
    for (;;) {
        const pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid) break;
        if (ended < 0 && errno != EINTR) return system_error(ErrorKind::execute, "wait", errno);
        if (deadline.passed()) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
            return Error(ErrorKind::execute, "it takes too long and was killed");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return Error(ErrorKind::execute, WIFEXITED(status)
                                         ? "exit status " + std::to_string(WEXITSTATUS(status))
                                         : "killed by signal " + std::to_string(WTERMSIG(status)));
}

}  // namespace chronos::cli
