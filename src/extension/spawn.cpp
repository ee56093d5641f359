#include "extension/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace chronos::extension {
namespace {

/// A descriptor with an owner. Above 9, so that none is in the way when the child arranges 0-3.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {
        if (fd_ < 0 || fd_ > 9) return;
        const int high = fcntl(fd_, F_DUPFD_CLOEXEC, 10);
        close(fd_);
        fd_ = high;
    }
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }

private:
    int fd_ = -1;
};

struct Ends {
    Descriptor ours;
    Descriptor theirs;
};

Error spawn_error(const std::string& path, int error_number) {
    return system_error(ErrorKind::execute, "start '" + path + "'", error_number);
}

Result<Ends> make_channel(const std::string& path) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return spawn_error(path, errno);
    Ends ends{Descriptor(fds[0]), Descriptor(fds[1])};
    fcntl(ends.ours.get(), F_SETFL, O_NONBLOCK);
    return ends;
}

Result<Ends> make_pipe(const std::string& path, int flags) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | flags) != 0) return spawn_error(path, errno);
    return Ends{Descriptor(fds[0]), Descriptor(fds[1])};
}

struct Image {
    const char* path;
    char** arguments;
    char** environment;
    int channel;
    int errors;
    int report;  ///< takes the errno of a failed exec
    pid_t parent;
};

void close_from(unsigned first) {
    if (syscall(SYS_close_range, first, ~0U, 0U) == 0) return;
    struct rlimit limit;
    const int end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (1U << 20)
                        ? static_cast<int>(limit.rlim_cur)
                        : 1 << 20;
    for (int fd = static_cast<int>(first); fd < end; ++fd) close(fd);
}

/// Between fork and exec only calls that are safe in a signal handler are allowed, and never
/// exit(): the server's exit hooks would clean up shared memory in the name of the parent.
[[noreturn]] void become(const Image& image) {
    struct sigaction by_default = {};
    by_default.sa_handler = SIG_DFL;
    for (int signal_number = 1; signal_number < NSIG; ++signal_number)
        sigaction(signal_number, &by_default, nullptr);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != image.parent) _exit(1);
    dup2(image.channel, 0);
    dup2(image.channel, 1);
    dup2(image.errors, 2);
    dup3(image.report, 3, O_CLOEXEC);
    close_from(4);
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execve(image.path, image.arguments, image.environment);
    const int error_number = errno;
    const ssize_t written = write(3, &error_number, sizeof error_number);
    // 1, not the shell's 127: as PID 1 the postmaster takes any other code for a crashed backend.
    _exit(written == 0 ? 0 : 1);
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
    std::vector<char*> result;
    result.reserve(strings.size() + 1);
    for (const std::string& text : strings) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
}

/// 0 once the program runs, else the errno of exec.
int exec_outcome(int report) {
    int error_number = 0;
    ssize_t size;
    do size = read(report, &error_number, sizeof error_number);
    while (size < 0 && errno == EINTR);
    return size == sizeof error_number ? error_number : 0;
}

void reap(pid_t pid) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

}  // namespace

Result<Child> spawn(const std::string& path, const std::vector<std::string>& arguments,
                    const std::vector<std::string>& environment) {
    std::vector<std::string> command{path};
    command.insert(command.end(), arguments.begin(), arguments.end());
    std::vector<char*> argument_pointers = pointers(command);
    std::vector<char*> environment_pointers = pointers(environment);
    Ends channel = CHRONOS_TRY(make_channel(path));
    // Non-blocking at the engine's end too: a full pipe must cost it a line, not bring it to a
    // halt.
    Ends errors = CHRONOS_TRY(make_pipe(path, O_NONBLOCK));
    Ends report = CHRONOS_TRY(make_pipe(path, 0));

    // The server's signal handlers must not run in the child.
    sigset_t all;
    sigset_t former;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &former);
    const Image image{path.c_str(),
                      argument_pointers.data(),
                      environment_pointers.data(),
                      channel.theirs.get(),
                      errors.theirs.get(),
                      report.theirs.get(),
                      getpid()};
    const pid_t pid = fork();
    if (pid == 0) become(image);
    const int fork_error = errno;
    sigprocmask(SIG_SETMASK, &former, nullptr);
    if (pid < 0) return spawn_error(path, fork_error);

    report.theirs = Descriptor();
    if (const int error_number = exec_outcome(report.ours.get())) {
        reap(pid);
        Error error = spawn_error(path, error_number);
        if (error_number == ENOENT)
            return std::move(error).with_hint(
                "It is installed with the module, or by the Debian package chronos-backup; "
                "chronos.executable names another one.");
        return error;
    }
    return Child{pid, channel.ours.release(), errors.ours.release()};
}

}  // namespace chronos::extension
