#include "chronos/engine/guard.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>

#include "chronos/control/message.h"

namespace chronos::engine {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// An engine whose work is a function, and the server's end of its channel.
class TestEngine {
public:
    /// `work` runs in the worker, which has already said its process id.
    explicit TestEngine(const std::function<void()>& work,
                        std::chrono::seconds time_to_end = kTimeToEnd) {
        int ends[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        channel_ = ends[0];
        // What is buffered is this process's own: ThreadSanitizer writes it where a child ends.
        std::fflush(nullptr);
        guard_ = fork();
        if (guard_ == 0) {
            dup2(ends[1], STDIN_FILENO);
            dup2(ends[1], STDOUT_FILENO);
            close(ends[0]);
            close(ends[1]);
            // As the archiver bequeaths it.
            signal(SIGINT, SIG_IGN);
            signal(SIGPIPE, SIG_IGN);
            enter_engine_worker(time_to_end);
            // A sanitizer's handler would make an exit of it.
            for (const int signal_number : {SIGSEGV, SIGABRT}) signal(signal_number, SIG_DFL);
            say(std::to_string(getpid()) + "\n");
            work();
            _exit(0);
        }
        close(ends[1]);
        worker_ = std::stoi(read_line());
    }
    ~TestEngine() {
        close_channel();
        if (guard_ > 0) {
            kill(guard_, SIGTERM);
            wait_for_guard();
        }
    }

    static void say(const std::string& text) {
        [[maybe_unused]] const ssize_t ignored = write(STDOUT_FILENO, text.data(), text.size());
    }
    static void hang() {
        for (;;) pause();
    }

    pid_t guard() const { return guard_; }
    pid_t worker() const { return worker_; }
    void close_channel() {
        if (channel_ >= 0) close(channel_);
        channel_ = -1;
    }
    std::string read_line() {
        std::string line;
        for (char c = 0; read(channel_, &c, 1) == 1 && c != '\n';) line += c;
        return line;
    }
    /// What is still to come on the channel.
    std::string read_rest() {
        std::string rest;
        for (char c = 0; read(channel_, &c, 1) == 1;) rest += c;
        return rest;
    }
    int wait_for_guard() {
        int status = 0;
        EXPECT_EQ(waitpid(guard_, &status, 0), guard_);
        guard_ = -1;
        return status;
    }
    bool worker_lives() const { return kill(worker_, 0) == 0; }
    bool worker_is_gone_within(std::chrono::milliseconds limit) const {
        for (const auto end = Clock::now() + limit; Clock::now() < end; usleep(5000))
            if (!worker_lives()) return true;
        return false;
    }

private:
    int channel_ = -1;
    pid_t guard_ = -1;
    pid_t worker_ = -1;
};

void expect_exit(int status, int code) {
    ASSERT_TRUE(WIFEXITED(status)) << "died by signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), code);
}

std::string file_text(const std::string& path) {
    std::string text;
    std::getline(std::ifstream(path), text);
    return text;
}

TEST(EngineGuard, EndsWithTheWorker) {
    expect_exit(TestEngine([] {}).wait_for_guard(), 0);
    // The postmaster takes any other status than 0 and 1 of an orphan for a crash.
    expect_exit(TestEngine([] { _exit(62); }).wait_for_guard(), 1);
}

TEST(EngineGuard, TellsTheServerWhichSignalKilledTheWorker) {
    for (const int signal_number : {SIGKILL, SIGSEGV, SIGABRT, SIGTERM}) {
        SCOPED_TRACE(strsignal(signal_number));
        TestEngine engine(TestEngine::hang);
        kill(engine.worker(), signal_number);
        control::LineBuffer lines;
        ASSERT_TRUE(lines.append(engine.read_rest()));
        const auto line = lines.next_line();
        ASSERT_TRUE(line.has_value());
        const auto message = control::decode(*line);
        ASSERT_TRUE(message.has_value()) << *line;
        EXPECT_EQ(message->verb, "failed");
        EXPECT_EQ(message->get_or("code", ""), "25");
        EXPECT_EQ(message->get_or("message", ""),
                  "engine was killed by signal " + std::to_string(signal_number));
        EXPECT_EQ(lines.next_line(), std::nullopt);
        expect_exit(engine.wait_for_guard(), 1);
    }
}

TEST(EngineGuard, HalfALineIsNotMistakenForAMessage) {
    TestEngine engine([] {
        TestEngine::say("done label=2026");
        TestEngine::hang();
    });
    usleep(50000);
    kill(engine.worker(), SIGKILL);
    control::LineBuffer lines;
    ASSERT_TRUE(lines.append(engine.read_rest()));
    const auto line = lines.next_line();
    ASSERT_TRUE(line.has_value());
    EXPECT_EQ(line->substr(0, 7), "failed ");
}

TEST(EngineGuard, SignalsStopTheWorkerAndAreSurvived) {
    for (const int signal_number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
        SCOPED_TRACE(strsignal(signal_number));
        TestEngine engine(TestEngine::hang);
        kill(engine.guard(), signal_number);
        expect_exit(engine.wait_for_guard(), 1);
        EXPECT_FALSE(engine.worker_lives());
    }
}

TEST(EngineGuard, OtherSignalsDoNotEndIt) {
    TestEngine engine(TestEngine::hang);
    for (const int signal_number : {SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE, SIGSEGV})
        kill(engine.guard(), signal_number);
    usleep(50000);
    EXPECT_TRUE(engine.worker_lives());
    kill(engine.guard(), SIGTERM);
    expect_exit(engine.wait_for_guard(), 1);
}

TEST(EngineGuard, WorkerThatIgnoresTheRequestIsKilled) {
    TestEngine engine([] {
        signal(SIGTERM, SIG_IGN);
        TestEngine::say("ready\n");
        TestEngine::hang();
    });
    engine.read_line();
    const auto start = Clock::now();
    kill(engine.guard(), SIGTERM);
    expect_exit(engine.wait_for_guard(), 1);
    EXPECT_FALSE(engine.worker_lives());
    EXPECT_LT(Clock::now() - start, 4s);
    EXPECT_GT(Clock::now() - start, 1500ms) << "no time to end by itself";
}

void end_three_seconds_later() {
    static const auto end = [](int) {
        sleep(3);
        TestEngine::say("tidied up\n");
        _exit(0);
    };
    signal(SIGTERM, end);
    TestEngine::say("ready\n");
    TestEngine::hang();
}

TEST(EngineGuard, WorkerHasTheTimeToEndThatItNeeds) {
    TestEngine engine(end_three_seconds_later, 60s);
    engine.read_line();
    kill(engine.guard(), SIGTERM);
    EXPECT_EQ(engine.read_line(), "tidied up");
    expect_exit(engine.wait_for_guard(), 0);
}

TEST(EngineGuard, NobodyWaitsForAWorkerWhoseChannelIsClosed) {
    for (const bool asked_before : {false, true}) {
        TestEngine engine(
            [] {
                signal(SIGTERM, SIG_IGN);
                TestEngine::say("ready\n");
                TestEngine::hang();
            },
            60s);
        engine.read_line();
        const auto start = Clock::now();
        if (asked_before) kill(engine.guard(), SIGTERM);
        engine.close_channel();
        expect_exit(engine.wait_for_guard(), 1);
        EXPECT_LT(Clock::now() - start, 5s);
    }
}

TEST(EngineGuard, ClosedChannelStopsAWorkerThatDoesNotRead) {
    TestEngine engine(TestEngine::hang);
    engine.close_channel();
    expect_exit(engine.wait_for_guard(), 1);
    EXPECT_FALSE(engine.worker_lives());
}

// Whoever adopts the worker must not see it die by a signal: it may be a postmaster.
TEST(EngineGuard, WorkerExitsByItselfWhenTheGuardIsKilled) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    TestEngine engine(TestEngine::hang);
    kill(engine.guard(), SIGKILL);
    EXPECT_TRUE(WIFSIGNALED(engine.wait_for_guard()));
    int status = 0;
    ASSERT_EQ(waitpid(engine.worker(), &status, 0), engine.worker());
    expect_exit(status, 1);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

// The archiver or job worker was killed: its engine is an orphan now.
TEST(EngineGuard, EndsWithOneWhenItsParentDies) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int pids[2];
    ASSERT_EQ(pipe(pids), 0);
    const pid_t server = fork();
    if (server == 0) {
        TestEngine engine(TestEngine::hang);
        const pid_t both[2] = {engine.guard(), engine.worker()};
        [[maybe_unused]] const ssize_t ignored = write(pids[1], both, sizeof(both));
        kill(getpid(), SIGKILL);
    }
    pid_t both[2] = {};
    ASSERT_EQ(read(pids[0], both, sizeof(both)), static_cast<ssize_t>(sizeof(both)));
    int status = 0;
    ASSERT_EQ(waitpid(server, &status, 0), server);
    ASSERT_EQ(waitpid(both[0], &status, 0), both[0]);
    expect_exit(status, 1);
    EXPECT_NE(kill(both[1], 0), 0) << "the worker outlived its guard";
    close(pids[0]);
    close(pids[1]);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(EngineGuard, NothingThatTheWorkerStartedIsLeft) {
    TestEngine engine([] {
        for (int i = 0; i < 3; ++i) {
            const pid_t child = fork();
            if (child != 0) continue;
            setsid();  // out of reach for a signal to the group
            if (fork() == 0) TestEngine::hang();
            TestEngine::say(std::to_string(getpid()) + "\n");
            TestEngine::hang();
        }
        TestEngine::hang();
    });
    std::vector<pid_t> left;
    for (int i = 0; i < 3; ++i) left.push_back(std::stoi(engine.read_line()));
    kill(engine.worker(), SIGKILL);
    expect_exit(engine.wait_for_guard(), 1);
    for (const pid_t pid : left) EXPECT_NE(kill(pid, 0), 0) << pid;
    // The grandchildren held the channel open: its end says that they are gone too.
    engine.read_rest();
}

TEST(EngineGuard, WorkerHasAHighOomScoreAndNoCoreFile) {
    TestEngine engine(TestEngine::hang);
    const std::string process = "/proc/" + std::to_string(engine.worker());
    EXPECT_EQ(file_text(process + "/oom_score_adj"), "500");
    EXPECT_EQ(file_text("/proc/" + std::to_string(engine.guard()) + "/oom_score_adj"),
              file_text("/proc/self/oom_score_adj"));
    std::ifstream limits(process + "/limits");
    std::string line;
    while (std::getline(limits, line) && !line.starts_with("Max core file size")) {
    }
    EXPECT_NE(line.find(" 0 "), std::string::npos) << line;
}

}  // namespace
}  // namespace chronos::engine
