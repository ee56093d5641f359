#include "engine/hook_command.h"

#include <gmock/gmock.h>
#include <fstream>
#include <thread>
#include <vector>

#include "result_matchers.h"

namespace chronos::engine {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class Shell : public testing::Test {
protected:
    Result<int> run(const std::string& text, std::chrono::milliseconds timeout = 20s) {
        return run_hook_command(
            {.text = text,
             .environment = environment_,
             .timeout = timeout,
             .output = [&](std::string_view line) { lines_.emplace_back(line); }},
            cancel_);
    }
    /// The process whose number the command has printed; one that nobody has reaped does not count.
    bool printed_process_lives() const {
        std::ifstream file("/proc/" + (lines_.empty() ? "x" : lines_.front()) + "/stat");
        std::string number;
        std::string name;
        std::string state;
        return file >> number >> name >> state && state != "Z";
    }

    std::map<std::string, std::string> environment_;
    std::vector<std::string> lines_;
    Cancellation cancel_;
};

TEST_F(Shell, ExitStatusAndEveryLineComeBack) {
    const auto status = run("echo one; echo two >&2; printf three; exit 7");
    ASSERT_OK(status);
    EXPECT_EQ(*status, 7);
    EXPECT_THAT(lines_, ElementsAre("one", "two", "three"));
}

TEST_F(Shell, ValuesInTheEnvironmentAreNeverShell) {
    environment_ = {{"JOB_ERROR", "$(echo pwned); 'x' `id`"}, {"HOME", "/nowhere"}};
    ASSERT_OK(run("echo \"$JOB_ERROR\"; echo $HOME"));
    EXPECT_THAT(lines_, ElementsAre("$(echo pwned); 'x' `id`", "/nowhere"));
}

TEST_F(Shell, StandardInputIsEmptyAndNothingElseIsInherited) {
    ASSERT_OK(run("cat; ls /proc/self/fd | wc -l"));
    EXPECT_THAT(lines_, ElementsAre("4"));  // three, and that of the listing
}

TEST_F(Shell, WhatTakesTooLongIsKilledWithItsChildren) {
    const auto start = std::chrono::steady_clock::now();
    const auto status = run("sleep 60 & echo $!; wait", 300ms);
    EXPECT_ERROR(ErrorKind::command_invalid, status);
    EXPECT_THAT(status.error().message(), HasSubstr("did not end within"));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
    std::this_thread::sleep_for(100ms);
    EXPECT_FALSE(printed_process_lives());
}

TEST_F(Shell, RequestToStopEndsIt) {
    std::thread stopper([&] {
        std::this_thread::sleep_for(200ms);
        cancel_.request();
    });
    EXPECT_ERROR(ErrorKind::cancelled, run("sleep 60"));
    stopper.join();
}

TEST_F(Shell, WhatIsLeftInTheBackgroundIsNotWaitedFor) {
    const auto start = std::chrono::steady_clock::now();
    const auto status = run("sleep 5 & echo started");
    ASSERT_OK(status);
    EXPECT_EQ(*status, 0);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 3s);
}

TEST_F(Shell, OutputThatIsClosedEarlyIsNoEnd) {
    const auto status = run("exec >&- 2>&-; sleep 0.3; exit 3");
    ASSERT_OK(status);
    EXPECT_EQ(*status, 3);
}

TEST_F(Shell, DeathByASignalIsAnError) {
    const auto status = run("kill -9 $$");
    EXPECT_ERROR(ErrorKind::command_invalid, status);
    EXPECT_THAT(status.error().message(), HasSubstr("signal 9"));
}

TEST_F(Shell, MuchOutputArrivesWhole) {
    ASSERT_OK(run("seq 1 20000"));
    ASSERT_EQ(lines_.size(), 20000u);
    EXPECT_EQ(lines_.back(), "20000");
}

TEST(Escapes, AreReplacedAndOthersStay) {
    const std::map<char, std::string> values = {{'i', "12"}, {'l', "20261120-081500F"}};
    EXPECT_EQ(expand_escapes("job %i of %l: 100%% %x %", values),
              "job 12 of 20261120-081500F: 100% %x %");
    EXPECT_EQ(expand_escapes("%%i", values), "%i");
}

}  // namespace
}  // namespace chronos::engine
