#include "chronos/os/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <functional>
#include <thread>

#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::os {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

/// Whether a process of that number runs; one that nobody has reaped does not.
bool runs(const std::string& pid) {
    const std::string text = read_or_empty("/proc/" + pid + "/stat", 65536);
    const std::size_t name_end = text.rfind(')');
    return name_end != std::string::npos && text.compare(name_end + 2, 1, "Z") != 0;
}

class Watch {
public:
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class RunProgram : public testing::Test {
protected:
    Result<Ended> run_shell(const std::string& text, Limits limits = {20s}) {
        command_.arguments = {"sh", "-c", text};
        const Watch watch;
        auto ended = run(command_, limits, [&](std::string_view chunk) { output_ += chunk; });
        seconds_ = watch.seconds();
        return ended;
    }
    /// Whether what has printed its process id first has been ended.
    bool printed_process_is_gone() const {
        const std::string pid = output_.substr(0, output_.find('\n'));
        for (int i = 0; i < 50 && runs(pid); ++i) std::this_thread::sleep_for(20ms);
        return !pid.empty() && !runs(pid);
    }
    bool has_children() const { return waitpid(-1, nullptr, WNOHANG) == 0; }
    /// Reaped, nothing of them is left.
    void TearDown() override { EXPECT_FALSE(has_children()); }

    Command command_;
    std::string output_;
    double seconds_ = 0;
};

TEST_F(RunProgram, AShellIsThatOfTheSystemWhateverThePathNames) {
    command_ = shell_command("echo \"$0 $KEY\"; read line && echo \"$line\"");
    command_.environment = {"PATH=/nonexistent", "KEY=value"};
    command_.input = "from outside\n";
    const auto ended = run(command_, {20s}, [&](std::string_view chunk) { output_ += chunk; });
    ASSERT_OK(ended);
    EXPECT_TRUE(ended->success());
    EXPECT_EQ(output_, "sh value\nfrom outside\n");
}

TEST_F(RunProgram, OutputAndExitStatusComeBack) {
    const auto ended = run_shell("echo one; echo two >&2; exit 7");
    ASSERT_OK(ended);
    EXPECT_EQ(output_, "one\n");
    EXPECT_EQ(describe_status(ended->status), "exit status 7");
    EXPECT_FALSE(ended->success());
    ASSERT_OK(run_shell("true"));
    const auto killed = run_shell("kill -9 $$");
    EXPECT_EQ(describe_status(killed.value().status), "signal 9");
}

TEST_F(RunProgram, BothOutputsAreCapturedOnDemand) {
    command_.output = Output::captured_both;
    ASSERT_OK(run_shell("echo one; echo two >&2; printf three"));
    EXPECT_EQ(output_, "one\ntwo\nthree");
}

TEST_F(RunProgram, MuchInputAndOutputArriveWhole) {
    command_.input = std::string(3 << 20, 'x');
    ASSERT_OK(run_shell("cat"));
    EXPECT_EQ(output_, command_.input);
    output_.clear();
    ASSERT_TRUE(run_shell("true").value().success());  // which reads none of it
    command_.input = "";
    ASSERT_OK(run_shell("cat; seq 1 100000"));
    EXPECT_EQ(output_.size(), 588'895u);
}

TEST_F(RunProgram, ThatCannotBeStartedSaysWhy) {
    command_.arguments = {"/no/such/program"};
    const auto none = run(command_, {20s}, [](std::string_view) {});
    EXPECT_ERROR(ErrorKind::execute, none);
    EXPECT_THAT(none.error().message(), HasSubstr("unable to start '/no/such/program'"));
    EXPECT_THAT(none.error().message(), HasSubstr("No such file"));
    command_.arguments = {"no-such-program-in-path"};
    EXPECT_ERROR(ErrorKind::execute, run(command_, {20s}, [](std::string_view) {}));
    command_.arguments = {"/"};
    EXPECT_ERROR(ErrorKind::execute, run(command_, {20s}, [](std::string_view) {}));
}

TEST_F(RunProgram, ThatIsLateIsKilledWithAllThatItHasStarted) {
    const auto ended = run_shell("trap '' TERM QUIT; sleep 60 & echo $!; wait; wait", {300ms});
    EXPECT_EQ(ended.value().how, Ended::How::timed_out);
    EXPECT_LT(seconds_, 5);
    EXPECT_TRUE(printed_process_is_gone());
}

TEST_F(RunProgram, ThatClosesItsOutputAndGoesOnIsEndedByTheDeadline) {
    const auto ended = run_shell("echo $$; exec >&- 2>&-; sleep 60", {300ms});
    EXPECT_EQ(ended.value().how, Ended::How::timed_out);
    EXPECT_LT(seconds_, 5);
    EXPECT_TRUE(printed_process_is_gone());
}

TEST_F(RunProgram, ThatNeverPausesIsEndedByTheDeadline) {
    command_.arguments = {"yes"};
    const Watch watch;
    const auto ended = run(command_, {300ms}, [](std::string_view chunk) {
        std::this_thread::sleep_for(std::chrono::microseconds(chunk.size() / 100));
    });
    EXPECT_EQ(ended.value().how, Ended::How::timed_out);
    EXPECT_LT(watch.seconds(), 5);
}

TEST_F(RunProgram, ThatPrintsMoreThanItMayIsEnded) {
    const auto ended = run_shell("echo $$; while :; do echo more; done", {20s, nullptr, 1000});
    EXPECT_EQ(ended.value().how, Ended::How::too_much_output);
    EXPECT_LE(output_.size(), 1000u);
    const auto exact = run_shell("printf 12345", {20s, nullptr, 5});
    EXPECT_TRUE(exact.value().success());
}

TEST_F(RunProgram, WhatStaysInTheBackgroundWithThePipeDoesNotHoldAnybodyUp) {
    const auto ended = run_shell("sleep 5 & echo $!");
    EXPECT_TRUE(ended.value().success());
    EXPECT_LT(seconds_, 3);
    const std::string pid = output_.substr(0, output_.find('\n'));
    EXPECT_TRUE(runs(pid));  // nobody has asked for its end
    kill(std::stoi(pid), SIGKILL);
}

TEST_F(RunProgram, RequestToStopEndsIt) {
    Cancellation cancel;
    std::thread stopper([&] {
        std::this_thread::sleep_for(200ms);
        cancel.request();
    });
    EXPECT_ERROR(ErrorKind::cancelled, run_shell("echo $$; sleep 60", {20s, &cancel}));
    stopper.join();
    EXPECT_LT(seconds_, 5);
    EXPECT_TRUE(printed_process_is_gone());
}

TEST_F(RunProgram, HasNoneOfOurFilesWhateverTheyAreOpenedWith) {
    const test::TemporaryDirectory directory;
    const FileDescriptor careless(open((directory / "lock").c_str(), O_RDWR | O_CREAT, 0600));
    ASSERT_EQ(flock(careless.get(), LOCK_EX), 0);
    const FileDescriptor high(fcntl(careless.get(), F_DUPFD, 200));
    command_.arguments = {"ls", "-l", "/proc/self/fd"};
    ASSERT_OK(run(command_, {20s}, [&](std::string_view chunk) { output_ += chunk; }));
    EXPECT_THAT(output_, HasSubstr("0 -> /dev/null"));
    EXPECT_THAT(output_, Not(HasSubstr("lock")));
    // Three, that of the listing, and the line with the total.
    EXPECT_EQ(std::count(output_.begin(), output_.end(), '\n'), 5);
}

// A server ignores SIGPIPE, and whoever starts a thread may block signals: `yes | head -1` would
// never end, or nobody could end a program by SIGTERM.
TEST_F(RunProgram, HasEverySignalAsItIsByDefault) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigset_t blocked;
    sigset_t former;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, &former);
    command_.arguments = {"grep", "^Sig[BI]", "/proc/self/status"};
    const auto ended = run(command_, {20s}, [&](std::string_view chunk) { output_ += chunk; });
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, &former, &after);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    ASSERT_OK(ended);
    EXPECT_EQ(output_, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    EXPECT_EQ(sigismember(&after, SIGTERM), 1);  // and this thread has its own back
    EXPECT_EQ(sigismember(&after, SIGINT), 0);
}

TEST_F(RunProgram, EnvironmentIsOursWithWhatIsAdded) {
    setenv("CHRONOS_TEST_A", "ours", 1);
    setenv("CHRONOS_TEST_B", "kept", 1);
    command_.environment = environment_with({"CHRONOS_TEST_A=$(echo pwned)"});
    ASSERT_OK(run_shell("echo \"$CHRONOS_TEST_A/$CHRONOS_TEST_B\"; env | grep -c CHRONOS_TEST_A"));
    EXPECT_EQ(output_, "$(echo pwned)/kept\n1\n");
    command_.environment = {"ONLY=this"};
    output_.clear();
    command_.program = "/usr/bin/env";
    command_.arguments = {"some other name"};
    ASSERT_OK(run(command_, {20s}, [&](std::string_view chunk) { output_ += chunk; }));
    EXPECT_EQ(output_, "ONLY=this\n");
}

TEST_F(RunProgram, AnyThreadMayDoThatWhileOthersDo) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([i] {
            for (int round = 0; round < 20; ++round) {
                std::string output;
                const std::string text = std::to_string(i * 1000 + round);
                Command command{.arguments = {"/bin/echo", text}};
                const auto ended =
                    run(command, {20s}, [&](std::string_view chunk) { output += chunk; });
                EXPECT_TRUE(ended.value().success());
                EXPECT_EQ(output, text + "\n");
            }
        });
    for (std::thread& thread : threads) thread.join();
}

TEST(Child, AppendsToAFileAndHasAnEnd) {
    const test::TemporaryDirectory directory;
    ASSERT_OK(write_whole(directory / "log", "before\n"));
    Command command{.arguments = {"sh", "-c", "echo out; echo err >&2; exit 3"},
                    .output = Output::file,
                    .file = directory / "log"};
    auto child = Child::start(command);
    ASSERT_OK(child);
    EXPECT_EQ(describe_status(child->ended_within(10s).value()), "exit status 3");
    EXPECT_EQ(read_or_empty(directory / "log", 65536), "before\nout\nerr\n");
    child->signal(SIGKILL);  // reaped, that does nothing
    EXPECT_EQ(kill(child->pid(), 0), -1);
}

TEST(Child, EndsWithItsOwnerEvenIfItDoesNotWantTo) {
    pid_t polite = 0;
    pid_t stubborn = 0;
    {
        const auto one = Child::start({.arguments = {"sleep", "100"}});
        auto other = Child::start(
            {.arguments = {"sh", "-c", "trap '' TERM QUIT INT; echo; while :; do sleep 1; done"}});
        ASSERT_OK(one);
        ASSERT_OK(other);
        polite = one->pid();
        stubborn = other->pid();
        char byte = 0;
        while (read(other->output(), &byte, 1) != 1) std::this_thread::sleep_for(10ms);
    }
    EXPECT_NE(kill(polite, 0), 0);
    EXPECT_NE(kill(stubborn, 0), 0);
}

TEST(Child, EndsWithTheThreadThatStartedItIfItHasADeathSignal) {
    std::optional<Child> child;
    std::thread([&] {
        auto started = Child::start({.arguments = {"sleep", "100"}, .death_signal = SIGKILL});
        child.emplace(std::move(started).value());
    }).join();
    EXPECT_EQ(describe_status(child->ended_within(10s).value()), "signal 9");
}

/// The exit status of a process that goes to the background and does that there.
int status_in_front(const std::function<void(Background&)>& behind) {
    const pid_t front = fork();
    if (front == 0) {
        auto background = Background::start();
        if (!background) _exit(99);
        behind(*background);
        _exit(7);
    }
    int status = 0;
    waitpid(front, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Background, LetsTheCallerGoWhenItIsReady) {
    Pipe pipe = std::move(make_pipe()).value();
    EXPECT_EQ(status_in_front([&](Background& background) {
                  background.ready();
                  // Nobody waits for this any more, and nobody is told.
                  std::this_thread::sleep_for(200ms);
                  const bool nowhere = write(STDOUT_FILENO, "x", 1) == 1 && getsid(0) == getpid();
                  if (write(pipe.write_end.get(), nowhere ? "y" : "n", 1) != 1) _exit(1);
              }),
              0);
    char byte = 0;
    EXPECT_EQ(read(pipe.read_end.get(), &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
}

TEST(Background, EndsAsItDidIfItWasNotReady) {
    EXPECT_EQ(status_in_front([](Background&) {}), 7);
    EXPECT_EQ(status_in_front([](Background&) { kill(getpid(), SIGKILL); }), 128 + SIGKILL);
}

}  // namespace
}  // namespace chronos::os
