#include "chronos/engine/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>

namespace chronos::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kWorkerOomScore = "500";
/// Tells the worker that its guard is gone. Not SIGKILL: the worker is then an orphan, and whoever
/// adopts it must see it exit.
constexpr int kGuardDied = SIGUSR2;

// ---- worker -----------------------------------------------------------------------------------

void exit_at_once(int) {
    _exit(1);
}

void raise_oom_score() {
    const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    // Raising is always allowed; without /proc there is nothing to be done.
    [[maybe_unused]] const ssize_t ignored =
        write(fd, kWorkerOomScore.data(), kWorkerOomScore.size());
    close(fd);
}

void become_worker(pid_t guard) {
    exit_with_guard();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    prctl(PR_SET_PDEATHSIG, kGuardDied);
    if (getppid() != guard) _exit(1);
    // A group of its own: what it starts can be ended with it, and a signal meant for the engine's
    // group reaches the guard alone, which knows the order of things.
    setpgid(0, 0);
    raise_oom_score();
    const rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    // Server processes ignore SIGPIPE and others; what was inherited must not decide.
    for (const int signal_number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD, SIGALRM})
        signal(signal_number, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
}

// ---- guard: system calls only, nothing is allocated -------------------------------------------

/// A line for the channel without the help of the heap.
class FixedText {
public:
    void add(std::string_view text) {
        const std::size_t count = std::min(text.size(), sizeof(data_) - size_);
        std::memcpy(data_ + size_, text.data(), count);
        size_ += count;
    }
    void add(int number) {
        char digits[12];
        std::size_t count = 0;
        do digits[count++] = static_cast<char>('0' + number % 10);
        while ((number /= 10) > 0);
        while (count > 0) add(std::string_view(&digits[--count], 1));
    }
    std::string_view text() const { return {data_, size_}; }

private:
    char data_[256];
    std::size_t size_ = 0;
};

/// Tells the server process how the worker ended. It may not be reading any more: wait a second.
void report_signal(int signal_number) {
    FixedText line;
    // The worker may have died in the middle of a line: 0x18 marks what is before it as cut off.
    line.add("\x18\nfailed code=25 message=engine%20was%20killed%20by%20signal%20");
    line.add(signal_number);
    line.add("\n");
    pollfd channel = {STDOUT_FILENO, POLLOUT, 0};
    if (poll(&channel, 1, 1000) != 1 || (channel.revents & POLLOUT) == 0) return;
    [[maybe_unused]] const ssize_t ignored =
        write(STDOUT_FILENO, line.text().data(), line.text().size());
}

/// Kills every child there is at this moment. Orphans of the worker are among them, because the
/// guard is their subreaper.
void kill_children(pid_t worker) {
    const int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        kill(-worker, SIGKILL);  // no such file in this kernel: at least the worker's group
        return;
    }
    char text[4096];
    pid_t pid = 0;
    for (ssize_t count; (count = read(fd, text, sizeof(text))) > 0;) {
        for (ssize_t i = 0; i < count; ++i) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid > 0) {
                kill(pid, SIGKILL);
                pid = 0;
            }
        }
    }
    if (pid > 0) kill(pid, SIGKILL);
    close(fd);
}

/// Returns when no process is left below the guard: whatever it left would be the postmaster's.
void end_all_below(pid_t worker) {
    for (;;) {
        kill_children(worker);
        const pid_t pid = waitpid(-1, nullptr, WNOHANG);
        if (pid < 0 && errno == ECHILD) return;
        // A killed process needs a moment; its own children come to the guard only then.
        if (pid == 0) poll(nullptr, 0, 5);
    }
}

class Guard {
public:
    Guard(pid_t worker, int signals, std::chrono::seconds time_to_end)
        : worker_(worker), signals_(signals), time_to_end_(time_to_end) {}

    [[noreturn]] void run() {
        while (!ended_) {
            wait_for_event();
            reap();
            if (!ended_ && stopping_ && Clock::now() >= kill_at_) kill(worker_, SIGKILL);
        }
        end_all_below(worker_);
        if (WIFSIGNALED(status_) && !stopping_) report_signal(WTERMSIG(status_));
        _exit(WIFEXITED(status_) && WEXITSTATUS(status_) == 0 ? 0 : 1);
    }

private:
    void wait_for_event() {
        pollfd events[2] = {{signals_, POLLIN, 0}, {STDIN_FILENO, POLLRDHUP, 0}};
        // Once closed, standard input would wake it for ever.
        if (poll(events, closed_ ? 1 : 2, stopping_ ? 100 : -1) <= 0) return;
        if ((events[0].revents & POLLIN) != 0) take_signal();
        closed_ = closed_ || (events[1].revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)) != 0;
        // Nobody waits for what it does to end well.
        if (closed_) stop(kTimeToEnd);
    }

    void take_signal() {
        signalfd_siginfo info;
        if (read(signals_, &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) return;
        if (info.ssi_signo != SIGCHLD) stop(time_to_end_);
    }

    void stop(std::chrono::seconds time) {
        const Clock::time_point kill_at = Clock::now() + time;
        kill_at_ = stopping_ ? std::min(kill_at_, kill_at) : kill_at;
        if (stopping_) return;
        stopping_ = true;
        kill(worker_, SIGTERM);
    }

    void reap() {
        for (;;) {
            int status = 0;
            const pid_t pid = waitpid(-1, &status, WNOHANG);
            if (pid <= 0) return;
            if (pid != worker_) continue;
            ended_ = true;
            status_ = status;
        }
    }

    pid_t worker_;
    int signals_;
    std::chrono::seconds time_to_end_;
    bool stopping_ = false;
    bool closed_ = false;
    bool ended_ = false;
    int status_ = 0;
    Clock::time_point kill_at_{};
};

}  // namespace

void exit_with_guard() {
    struct sigaction ending = {};
    ending.sa_handler = exit_at_once;
    sigaction(kGuardDied, &ending, nullptr);
}

namespace {

void enter_worker(std::chrono::seconds time_to_end) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    // All signals stay blocked in the guard: none but SIGKILL can end it. A disposition of
    // "ignore", which server processes bequeath, would keep signalfd from seeing them.
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    for (const int signal_number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD})
        signal(signal_number, SIG_DFL);
    sigset_t heard;
    sigemptyset(&heard);
    for (const int signal_number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD})
        sigaddset(&heard, signal_number);
    const int signals = signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) _exit(1);

    const pid_t guard = getpid();
    const pid_t worker = fork();
    if (worker < 0) _exit(1);
    if (worker == 0) {
        close(signals);
        become_worker(guard);
        return;
    }
    Guard(worker, signals, time_to_end).run();
}

}  // namespace

void enter_engine_worker(std::chrono::seconds time_to_end) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    enter_worker(time_to_end);
}

void enter_guarded_worker() {
    enter_worker(kTimeToEnd);
}

}  // namespace chronos::engine
