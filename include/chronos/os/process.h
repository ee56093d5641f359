#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"
#include "chronos/os/file.h"

/// Running other programs. A program that is started here has every signal as it is by default, no
/// file of this process but the standard ones, and a process group of its own. Between fork() and
/// exec nothing is called that may not be called there, so that any thread may start one.
namespace chronos::os {

/// From here on the calling thread, with those that it starts, computes when others do not want to:
/// a server on the same machine has the right of way.
void let_others_go_first();

/// "NAME=value" of this process, with `added` in place of those of the same name.
std::vector<std::string> environment_with(const std::vector<std::string>& added = {});

/// Where standard output and standard error of a program go.
enum class Output {
    captured,           ///< output to who started it, errors where those of this process go
    captured_both,      ///< both to who started it
    as_error_messages,  ///< both where error messages of this process go
    file                ///< both are appended to Command::file
};

struct Command {
    /// The first is the program: a path, or a name that is looked for in PATH. No shell is
    /// involved.
    std::vector<std::string> arguments;
    std::string program = {};  ///< started in place of the first argument, unless it is ""
    std::vector<std::string> environment = environment_with();  ///< all of it
    Output output = Output::captured;
    std::string file = {};   ///< for Output::file; made with mode 0600
    std::string input = {};  ///< all that it reads from standard input
    /// Sent to it when the thread that starts it ends, however that comes; 0: nothing is.
    int death_signal = 0;
};

/// A line that a user wrote for a shell: /bin/sh runs it, and calls itself "sh" in its messages.
/// What else it is to have - environment, input, where output goes - is the caller's to set.
Command shell_command(const std::string& line);

/// A started program. Destroyed while that runs it ends it: SIGQUIT, and SIGKILL two seconds later,
/// to its group. One thread, the one that started it.
class Child {
public:
    /// Kind execute, with the reason, if it cannot be started.
    static Result<Child> start(const Command& command);
    Child(Child&& other) noexcept;
    Child& operator=(Child&&) = delete;
    ~Child();

    /// As waitpid() has it, once it has ended.
    std::optional<int> ended();
    /// The same, waiting for as long.
    std::optional<int> ended_within(std::chrono::milliseconds limit);
    /// To the program alone.
    void signal(int number) const;
    /// Ends the program with all of its group by SIGKILL, and reaps it. One that hangs in the
    /// kernel, where no signal reaches it, is left behind after ten seconds.
    void kill();
    pid_t pid() const { return pid_; }
    /// What was captured; not valid otherwise. Reading from it does not wait.
    int output() const { return output_.get(); }

private:
    Child(pid_t pid, FileDescriptor output) : pid_(pid), output_(std::move(output)) {}
    void signal_group(int number) const;

    pid_t pid_;
    FileDescriptor output_;
    std::optional<int> status_;
};

struct Limits {
    std::chrono::milliseconds timeout;
    const Cancellation* cancel = nullptr;
    std::uint64_t output_max_bytes = UINT64_MAX;
};

/// How a program ended.
struct Ended {
    enum class How { by_itself, timed_out, too_much_output };
    How how = How::by_itself;
    int status = 0;  ///< as waitpid() has it; by_itself only

    /// By itself, with exit status 0.
    bool success() const { return how == How::by_itself && status == 0; }
};

/// Runs a program to its end and passes on what it prints. It is killed, with its group, when the
/// time is over, when it prints more than it may, and when that is requested (kind cancelled). What
/// it leaves running in the background is not waited for, even if that could still print. Kind
/// execute if it cannot be started.
Result<Ended> run(const Command& command, const Limits& limits,
                  const std::function<void(std::string_view chunk)>& receive);

/// This program going on without whoever started it, once it is ready. To be started while there
/// is one thread.
class Background {
public:
    /// Returns in a new process, with a session of its own. The former one waits for ready(), and
    /// exits with 0 then; or for the new one's end, and exits as that did. Kind kernel.
    static Result<Background> start();
    /// Nobody waits any more: the standard files lead nowhere from here on.
    void ready();

private:
    explicit Background(FileDescriptor parent) : parent_(std::move(parent)) {}
    FileDescriptor parent_;
};

/// "exit status 1", "signal 9"
std::string describe_status(int status);

}  // namespace chronos::os
