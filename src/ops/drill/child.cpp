#include "ops/drill/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <thread>

#include "chronos/base/activity.h"
#include "chronos/os/file.h"

extern char** environ;  // NOLINT: POSIX

namespace chronos::ops::drill {
namespace {

using std::chrono::milliseconds;

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> result;
    result.reserve(texts.size() + 1);
    for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
}

/// Files of this process - above all locks, which live as long as any copy of their descriptor -
/// are not the child's.
void close_on_exec_from(int first) {
    const long last = sysconf(_SC_OPEN_MAX);
    constexpr long kEnough = 65536;
    for (int fd = first; fd < (last > 0 && last < kEnough ? last : kEnough); ++fd)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

struct Prepared {
    char** arguments;
    char** environment;
    int output;
    int report;
    int death_signal;
    pid_t parent;
};

/// Behind fork(): only what may be called there.
[[noreturn]] void become(const Prepared& prepared) {
    setpgid(0, 0);
    std::signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    if (prepared.death_signal != 0) {
        prctl(PR_SET_PDEATHSIG, prepared.death_signal);
        if (getppid() != prepared.parent) _exit(127);  // it died before the line above
    }
    const int null = open("/dev/null", O_RDONLY);
    int error = 0;
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(prepared.output, STDOUT_FILENO) < 0 ||
        dup2(prepared.output, STDERR_FILENO) < 0)
        error = errno;
    close_on_exec_from(STDERR_FILENO + 1);
    if (error == 0) {
        execve(prepared.arguments[0], prepared.arguments, prepared.environment);
        error = errno;
    }
    if (write(prepared.report, &error, sizeof error) < 0) _exit(126);
    _exit(127);
}

/// What kept the child from becoming the program; 0 if nothing did.
int read_report(int descriptor) {
    int error = 0;
    ssize_t count = 0;
    do count = read(descriptor, &error, sizeof error);
    while (count < 0 && errno == EINTR);
    return count == static_cast<ssize_t>(sizeof error) ? error : 0;
}

}  // namespace

Result<Child> Child::start(const ChildOptions& options) {
    const std::string& program = options.arguments.front();
    const os::FileDescriptor output(
        open(options.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!output.valid())
        return system_error(ErrorKind::file_open, "unable to open '" + options.output + "'", errno);
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
        return system_error(ErrorKind::kernel, "make a pipe", errno);
    const os::FileDescriptor report(ends[0]);
    os::FileDescriptor report_end(ends[1]);
    std::vector<char*> arguments = pointers(options.arguments);
    std::vector<char*> environment = pointers(options.environment);
    const Prepared prepared{arguments.data(), environment.data(),   output.get(),
                            report_end.get(), options.death_signal, getpid()};
    const pid_t pid = fork();
    if (pid < 0) return system_error(ErrorKind::kernel, "start '" + program + "'", errno);
    if (pid == 0) become(prepared);
    Child child(pid);
    report_end.reset();
    if (const int error = read_report(report.get()); error != 0) {
        child.ended_within(std::chrono::seconds(10));
        return system_error(ErrorKind::execute, "unable to start '" + program + "'", error);
    }
    return child;
}

Child::~Child() {
    if (pid_ < 0 || ended()) return;
    signal(SIGQUIT);
    if (ended_within(milliseconds(2000))) return;
    signal(SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

std::optional<int> Child::ended() {
    int status = 0;
    if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
    return status_;
}

std::optional<int> Child::ended_within(milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!ended() && std::chrono::steady_clock::now() < end) {
        Activity::note();
        std::this_thread::sleep_for(milliseconds(20));
    }
    return ended();
}

void Child::signal(int number) const {
    // Reaped, the number may be that of another process.
    if (pid_ > 0 && !status_) kill(pid_, number);
}

std::string describe_status(int status) {
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    return "exit status " + std::to_string(WEXITSTATUS(status));
}

std::vector<std::string> plain_environment() {
    std::vector<std::string> result;
    for (char** at = environ; *at != nullptr; ++at) {
        const std::string_view text = *at;
        // PGBACKREST_... configures restore_command and stays.
        if (text.starts_with("PG") && !text.starts_with("PGBACKREST_")) continue;
        if (text.starts_with("LC_") || text.starts_with("LANG=") || text.starts_with("LANGUAGE="))
            continue;
        result.emplace_back(text);
    }
    result.emplace_back("LC_ALL=C");
    return result;
}

}  // namespace chronos::ops::drill
