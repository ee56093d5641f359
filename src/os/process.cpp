#include "chronos/os/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "chronos/base/activity.h"
#include "chronos/base/text.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

extern char** environ;  // NOLINT: POSIX

namespace chronos::os {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPause(20);
/// Of a program that was killed and does not end: it hangs in the kernel, where nothing reaches it.
constexpr milliseconds kReapMax(10'000);

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> result;
    result.reserve(texts.size() + 1);
    for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
}

/// As execvp() looks for it, which must not be called between fork() and exec.
std::string find_program(const std::string& name) {
    if (name.find('/') != std::string::npos) return name;
    const char* path = std::getenv("PATH");
    for (const std::string_view directory : split(path == nullptr ? "/bin:/usr/bin" : path, ':')) {
        std::string file = (directory.empty() ? "." : std::string(directory)) + "/" + name;
        if (::access(file.c_str(), X_OK) == 0) return file;
    }
    return name;
}

/// A file rather than a pipe: a program that reads nothing cannot hold anybody up.
Result<FileDescriptor> file_with(const std::string& text) {
    FileDescriptor file(text.empty() ? ::open("/dev/null", O_RDONLY | O_CLOEXEC)
                                     : ::memfd_create("input", MFD_CLOEXEC));
    if (!file.valid()) return system_error(ErrorKind::execute, "make a file for its input", errno);
    if (text.empty()) return file;
    CHRONOS_TRY_DOING(write_all(file.get(), text, "input"), "make a file for its input");
    if (::lseek(file.get(), 0, SEEK_SET) != 0)
        return system_error(ErrorKind::execute, "make a file for its input", errno);
    return file;
}

struct Streams {
    FileDescriptor input;
    FileDescriptor output;    ///< none: that of error messages
    FileDescriptor captured;  ///< the end that stays here
    bool errors_too = false;
};

Result<Streams> open_streams(const Command& command) {
    Streams streams;
    streams.input = CHRONOS_TRY(file_with(command.input));
    streams.errors_too = command.output == Output::captured_both || command.output == Output::file;
    if (command.output == Output::as_error_messages) return streams;
    if (command.output == Output::file) {
        streams.output = FileDescriptor(::open(
            command.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR));
        if (!streams.output.valid())
            return system_error(ErrorKind::file_open, "unable to open '" + command.file + "'",
                                errno);
        return streams;
    }
    Pipe pipe = CHRONOS_TRY(make_pipe());
    streams.output = std::move(pipe.write_end);
    streams.captured = std::move(pipe.read_end);
    if (::fcntl(streams.captured.get(), F_SETFL, O_NONBLOCK) != 0)
        return system_error(ErrorKind::kernel, "make a pipe", errno);
    return streams;
}

/// All that the new process needs, made while everything may still be called.
struct Prepared {
    const char* program;
    char** arguments;
    char** environment;
    int input;
    int output;
    int errors;
    int report;  ///< where the reason goes if it does not become the program
    int death_signal;
    pid_t parent;
    long descriptors_max;
};

/// What is ignored stays so through exec, and a handler could still run here.
void reset_signals() {
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; ++number) ::sigaction(number, &standard, nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// Files of this process - above all locks, which live as long as any copy of their descriptor -
/// are not the program's.
void leave_files_behind(long descriptors_max) {
    constexpr int kFirst = STDERR_FILENO + 1;
    if (::syscall(SYS_close_range, kFirst, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
    for (int fd = kFirst; fd < descriptors_max; ++fd)  // before Linux 5.11
        ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

bool take_streams(const Prepared& prepared) {
    return ::dup2(prepared.input, STDIN_FILENO) >= 0 &&
           ::dup2(prepared.output, STDOUT_FILENO) >= 0 &&
           (prepared.errors == STDERR_FILENO || ::dup2(prepared.errors, STDERR_FILENO) >= 0);
}

/// Behind fork(): nothing but system calls. The standard descriptors are open (main() sees to that,
/// base/standard_files.h), so that none of the others has one of their numbers.
[[noreturn]] void become(const Prepared& prepared) {
    ::setpgid(0, 0);
    if (prepared.death_signal != 0) {
        ::prctl(PR_SET_PDEATHSIG, prepared.death_signal);
        if (::getppid() != prepared.parent) ::_exit(127);  // it died before the line above
    }
    int error = 0;
    if (take_streams(prepared)) {
        leave_files_behind(prepared.descriptors_max);
        reset_signals();
        ::execve(prepared.program, prepared.arguments, prepared.environment);
    }
    error = errno;
    if (::write(prepared.report, &error, sizeof error) < 0) ::_exit(126);
    ::_exit(127);
}

/// No handler of this process may run in the new one, which has all of its memory.
pid_t fork_without_signals() {
    sigset_t all;
    sigset_t former;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &former);
    const pid_t pid = ::fork();
    if (pid == 0) return 0;
    const int error_number = errno;
    ::pthread_sigmask(SIG_SETMASK, &former, nullptr);
    errno = error_number;
    return pid;
}

/// What kept the child from becoming the program; 0 if nothing did.
int read_report(int descriptor) {
    int error = 0;
    ssize_t count = 0;
    do count = ::read(descriptor, &error, sizeof error);
    while (count < 0 && errno == EINTR);
    return count == static_cast<ssize_t>(sizeof error) ? error : 0;
}

long descriptors_max() {
    constexpr long kEnough = 65536;
    const long last = ::sysconf(_SC_OPEN_MAX);
    return last > 0 && last < kEnough ? last : kEnough;
}

/// More than a pipe holds: after the end of a program its last words are in one round, and one that
/// never pauses does not keep anybody from looking at the clock.
constexpr std::size_t kRoundBytes = std::size_t{1} << 20;

/// Passes on what is there. False once there is too much of it.
bool receive_available(int fd, std::uint64_t& left_bytes,
                       const std::function<void(std::string_view)>& receive) {
    std::array<char, 16384> chunk;
    for (std::size_t round = 0; round < kRoundBytes;) {
        const ssize_t count = ::read(fd, chunk.data(), chunk.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return true;
        round += static_cast<std::size_t>(count);
        if (static_cast<std::uint64_t>(count) > left_bytes) return false;
        left_bytes -= static_cast<std::uint64_t>(count);
        receive({chunk.data(), static_cast<std::size_t>(count)});
    }
    return true;
}

/// Until it prints something; with its output closed nothing but its end is left to wait for.
void wait_a_moment(int fd) {
    Activity::note();
    pollfd event = {fd, POLLIN, 0};
    ::poll(&event, 1, static_cast<int>(kPause.count()));
    if ((event.revents & POLLIN) == 0 && event.revents != 0) std::this_thread::sleep_for(kPause);
}

}  // namespace

void let_others_go_first() {
    constexpr int kNice = 10;
    [[maybe_unused]] const int ignored = ::setpriority(PRIO_PROCESS, 0, kNice);
}

std::vector<std::string> environment_with(const std::vector<std::string>& added) {
    std::vector<std::string> result = added;
    const auto name_of = [](std::string_view text) { return text.substr(0, text.find('=')); };
    for (char** at = environ; *at != nullptr; ++at) {
        bool is_replaced = false;
        for (const std::string& text : added) is_replaced |= name_of(text) == name_of(*at);
        if (!is_replaced) result.emplace_back(*at);
    }
    return result;
}

Command shell_command(const std::string& line) {
    return {.arguments = {"sh", "-c", line}, .program = "/bin/sh"};
}

Result<Child> Child::start(const Command& command) {
    const std::string program =
        find_program(command.program.empty() ? command.arguments.front() : command.program);
    const std::string what = "unable to start '" + command.arguments.front() + "'";
    Streams streams = CHRONOS_TRY(open_streams(command));
    Pipe report = CHRONOS_TRY(make_pipe());
    const std::vector<char*> arguments = pointers(command.arguments);
    const std::vector<char*> environment = pointers(command.environment);
    const int output = streams.output.valid() ? streams.output.get() : STDERR_FILENO;
    const Prepared prepared{program.c_str(),
                            const_cast<char**>(arguments.data()),
                            const_cast<char**>(environment.data()),
                            streams.input.get(),
                            output,
                            streams.errors_too ? output : STDERR_FILENO,
                            report.write_end.get(),
                            command.death_signal,
                            ::getpid(),
                            descriptors_max()};
    const pid_t pid = fork_without_signals();
    if (pid < 0) return system_error(ErrorKind::kernel, what, errno);
    if (pid == 0) become(prepared);
    Child child(pid, std::move(streams.captured));
    report.write_end.reset();
    // When that has its end the program is there, in its group and without our files.
    if (const int error = read_report(report.read_end.get()); error != 0) {
        child.ended_within(kReapMax);
        return system_error(ErrorKind::execute, what, error);
    }
    return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::move(other.output_)),
      status_(other.status_) {}

Child::~Child() {
    if (pid_ < 0 || ended()) return;
    signal_group(SIGQUIT);
    if (!ended_within(milliseconds(2000))) kill();
}

std::optional<int> Child::ended() {
    int status = 0;
    if (status_) return status_;
    const pid_t reaped = ::waitpid(pid_, &status, WNOHANG);
    if (reaped == pid_) status_ = status;
    // Somebody else has reaped it, or nobody had to: how it ended is not known, which is a failure.
    if (reaped < 0 && errno == ECHILD) status_ = W_EXITCODE(255, 0);
    return status_;
}

std::optional<int> Child::ended_within(milliseconds limit) {
    const Deadline deadline(limit);
    while (!ended() && !deadline.passed()) {
        Activity::note();
        std::this_thread::sleep_for(kPause);
    }
    return ended();
}

void Child::signal(int number) const {
    // Reaped, the number may be that of another process.
    if (pid_ > 0 && !status_) ::kill(pid_, number);
}

void Child::signal_group(int number) const {
    if (pid_ > 0 && !status_) ::kill(-pid_, number);
}

void Child::kill() {
    signal_group(SIGKILL);
    signal(SIGKILL);  // it may have gone to another group
    ended_within(kReapMax);
}

Result<Ended> run(const Command& command, const Limits& limits,
                  const std::function<void(std::string_view chunk)>& receive) {
    const Deadline deadline(limits.timeout);
    Child child = CHRONOS_TRY(Child::start(command));
    std::uint64_t left_bytes = limits.output_max_bytes;
    for (;;) {
        // Ended first, then read: so its last words are in what is read.
        const std::optional<int> status = child.ended();
        if (!receive_available(child.output(), left_bytes, receive)) {
            child.kill();
            return Ended{Ended::How::too_much_output};
        }
        if (status) return Ended{Ended::How::by_itself, *status};
        const Result<> wanted = limits.cancel == nullptr ? Result<>() : limits.cancel->check();
        const bool late = deadline.passed();
        if (!wanted || late) child.kill();
        if (!wanted) return wanted.error();
        if (late) return Ended{Ended::How::timed_out};
        wait_a_moment(child.output());
    }
}

Result<Background> Background::start() {
    Pipe pipe = CHRONOS_TRY(make_pipe());
    const pid_t child = ::fork();
    if (child < 0) return system_error(ErrorKind::kernel, "go to the background", errno);
    if (child == 0) {
        pipe.read_end.reset();
        ::setsid();
        return Background(std::move(pipe.write_end));
    }
    pipe.write_end.reset();
    char byte = 0;
    ssize_t count = 0;
    do count = ::read(pipe.read_end.get(), &byte, 1);
    while (count < 0 && errno == EINTR);
    if (count == 1) ::_exit(0);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void Background::ready() {
    if (const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC); nowhere >= 0) {
        for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
            ::dup2(nowhere, standard);
        ::close(nowhere);
    }
    const char byte = 'r';
    // A parent that was killed meanwhile is not waiting.
    if (::write(parent_.get(), &byte, 1) < 0) return parent_.reset();
    parent_.reset();
}

std::string describe_status(int status) {
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    return "exit status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace chronos::os
