#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::ops::drill {

struct ChildOptions {
    std::vector<std::string> arguments;    ///< the first is the program, absolute
    std::vector<std::string> environment;  ///< "NAME=value", all of it
    std::string output;                    ///< file that standard output and error are appended to
    /// Sent to the child when this thread ends: SIGQUIT makes a postmaster stop at once.
    int death_signal = 0;
};

/// A started program with a process group of its own. Destroyed while it runs it is killed:
/// SIGQUIT, and SIGKILL two seconds later. One thread, the one that started it.
class Child {
public:
    /// Kind execute, with the reason, if it cannot be started.
    static Result<Child> start(const ChildOptions& options);
    Child(Child&& other) noexcept : pid_(other.pid_), status_(other.status_) { other.pid_ = -1; }
    Child& operator=(Child&&) = delete;
    ~Child();

    /// As waitpid() has it, once it has ended.
    std::optional<int> ended();
    /// The same, waiting for as long.
    std::optional<int> ended_within(std::chrono::milliseconds limit);
    void signal(int number) const;
    pid_t pid() const { return pid_; }

private:
    explicit Child(pid_t pid) : pid_(pid) {}
    pid_t pid_;
    std::optional<int> status_;
};

/// "exit status 1", "signal 9"
std::string describe_status(int status);

/// The environment of this process without what libpq and the server read from it.
std::vector<std::string> plain_environment();

}  // namespace chronos::ops::drill
