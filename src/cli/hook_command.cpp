#include "cli/hook_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "chronos/base/text.h"
#include "chronos/os/file.h"

namespace chronos::cli {
namespace {

constexpr int kHookPollMs = 50;
constexpr std::size_t kLineMax = 8192;

/// Lines of what comes in pieces; one that is very long is cut.
class Lines {
public:
    explicit Lines(const std::function<void(std::string_view)>& receiver) : receiver_(receiver) {}
    void add(std::string_view chunk) {
        for (const char c : chunk) {
            if (c == '\n')
                flush();
            else if (line_.size() < kLineMax)
                line_ += c;
        }
    }
    void finish() {
        if (!line_.empty()) flush();
    }

private:
    void flush() {
        receiver_(printable(line_, kLineMax));
        line_.clear();
    }
    const std::function<void(std::string_view)>& receiver_;
    std::string line_;
};

std::vector<std::string> whole_environment(const std::map<std::string, std::string>& added) {
    std::vector<std::string> result;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        if (!added.contains(std::string(text.substr(0, text.find('='))))) result.emplace_back(text);
    }
    for (const auto& [name, value] : added) result.push_back(name + "=" + value);
    return result;
}

/// In the new process: nothing but system calls until exec.
[[noreturn]] void become_shell(int output, char* const* arguments, char* const* environment) {
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0)
        _exit(127);
    close_range(3, ~0U, 0);
    execve("/bin/sh", arguments, environment);
    _exit(127);
}

Result<pid_t> start_shell(const HookCommand& command, int output) {
    std::vector<std::string> environment = whole_environment(command.environment);
    std::vector<char*> variables;
    for (std::string& variable : environment) variables.push_back(variable.data());
    variables.push_back(nullptr);
    std::string shell = "sh";
    std::string option = "-c";
    std::string text = command.text;
    std::array<char*, 4> arguments{shell.data(), option.data(), text.data(), nullptr};
    const pid_t pid = fork();
    if (pid == 0) become_shell(output, arguments.data(), variables.data());
    if (pid < 0) return system_error(ErrorKind::kernel, "start /bin/sh", errno);
    setpgid(pid, pid);  // whoever comes first: a kill must find the group
    return pid;
}

void read_available(int fd, Lines& lines) {
    std::array<char, 4096> chunk;
    for (;;) {
        const ssize_t count = read(fd, chunk.data(), chunk.size());
        if (count <= 0) return;
        lines.add({chunk.data(), static_cast<std::size_t>(count)});
    }
}

/// The wait status, or why it was killed.
Result<int> watch(pid_t pid, int fd, const HookCommand& command, const Cancellation& cancel,
                  Lines& lines) {
    const Deadline deadline(command.timeout);
    for (;;) {
        pollfd event = {fd, POLLIN, 0};
        poll(&event, 1, kHookPollMs);
        // Ended first, then read: so its last words are in what is read.
        int status = 0;
        const bool ended = waitpid(pid, &status, WNOHANG) == pid;
        read_available(fd, lines);
        if (ended) return status;
        const Result<> wanted = cancel.check();
        if (wanted && !deadline.passed()) {
            // With its output closed nothing but its end is left to wait for.
            if ((event.revents & POLLHUP) != 0) usleep(kHookPollMs * 1000);
            continue;
        }
        kill(-pid, SIGKILL);
        waitpid(pid, &status, 0);
        if (!wanted) return wanted.error();
        return Error(ErrorKind::command_invalid,
                     "the command did not end within " +
                         std::to_string(command.timeout.count() / 1000) + " s");
    }
}

}  // namespace

Result<int> run_hook_command(const HookCommand& command, const Cancellation& cancel) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return system_error(ErrorKind::kernel, "make a pipe", errno);
    const os::FileDescriptor read_end(ends[0]);
    os::FileDescriptor write_end(ends[1]);
    // Only our end may refuse to wait.
    fcntl(write_end.get(), F_SETFL, 0);
    const pid_t pid = CHRONOS_TRY(start_shell(command, write_end.get()));
    write_end.reset();
    Lines lines(command.output);
    const Result<int> status = watch(pid, read_end.get(), command, cancel, lines);
    lines.finish();
    if (!status) return status.error();
    if (WIFEXITED(*status)) return WEXITSTATUS(*status);
    return Error(ErrorKind::command_invalid,
                 "the command was killed by signal " + std::to_string(WTERMSIG(*status)));
}

std::string expand_escapes(std::string_view text, const std::map<char, std::string>& values) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%' || i + 1 == text.size()) {
            result += text[i];
            continue;
        }
        const auto value = values.find(text[i + 1]);
        if (text[i + 1] == '%')
            result += '%';
        else if (value != values.end())
            result += value->second;
        else
            (result += '%') += text[i + 1];
        ++i;
    }
    return result;
}

}  // namespace chronos::cli
