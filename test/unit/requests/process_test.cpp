#include "chronos/requests/process.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "config_of.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::requests {
namespace {

/// The wait status of a child that ran `body` and exited with its result.
int in_child(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

TEST(Signals, InheritedBlocksAndIgnoresDoNotCount) {
    const int status = in_child([] {
        for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) std::signal(number, SIG_IGN);
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, nullptr);
        static Cancellation cancel;
        set_up_signals(cancel);
        if (std::signal(SIGCHLD, SIG_DFL) != SIG_DFL) return 1;
        if (std::signal(SIGPIPE, SIG_IGN) != SIG_IGN) return 2;
        std::raise(SIGTERM);
        if (!cancel.requested()) return 3;
        return received_signal() == "SIGTERM" ? 0 : 4;
    });
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Signals, TheSecondOneEndsTheProcess) {
    const int status = in_child([] {
        static Cancellation cancel;
        set_up_signals(cancel);
        std::raise(SIGINT);
        std::raise(SIGINT);
        return 0;
    });
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), SIGINT);
}

/// Who a command runs as after leave_root(); only a root who drops shows more than itself.
uid_t user_after(const std::vector<std::string>& arguments) {
    const config::Config config = test::config_of(arguments);
    const int status = in_child([&] {
        if (!leave_root(config)) return 255;
        return geteuid() == 0 ? 0 : 1;
    });
    return static_cast<uid_t>(WEXITSTATUS(status));
}

TEST(Root, GoesOnAsTheOwnerOfTheDataDirectoryOrTheRepository) {
    const test::TemporaryDirectory directory;
    const std::string mine = directory / "mine";
    const std::string other = directory / "other";
    mkdir(mine.c_str(), 0755);
    mkdir(other.c_str(), 0755);
    const bool root = geteuid() == 0;
    if (root) {
        ASSERT_EQ(chown(other.c_str(), 65534, 65534), 0);
    }
    const uid_t dropped = 1;                // to somebody who is not root
    const uid_t kept = root ? 0 : dropped;  // nobody becomes root by this
    EXPECT_EQ(user_after({"backup", "--stanza=x", "--pg1-path=" + other, "--repo1-path=" + mine}),
              dropped);
    EXPECT_EQ(user_after({"backup", "--stanza=x", "--pg1-path=" + mine, "--repo1-path=" + other}),
              kept);
    EXPECT_EQ(user_after({"info", "--repo1-path=" + other}), dropped);
    EXPECT_EQ(user_after({"info", "--repo1-path=" + other, "--allow-root"}), kept);
    EXPECT_EQ(user_after({"restore", "--stanza=x", "--pg1-path=" + other, "--repo1-path=" + mine}),
              kept);
    EXPECT_EQ(user_after({"info", "--repo1-path=/does/not/exist"}), kept);
}

TEST(Umask, IsNeutralUnlessTheOptionSaysOtherwise) {
    const auto umask_after = [](const std::vector<std::string>& arguments) {
        const config::Config config = test::config_of(arguments);
        return WEXITSTATUS(in_child([&] {
            umask(027);
            if (!apply_process_options(config)) return 255;
            return static_cast<int>(umask(0));
        }));
    };
    EXPECT_EQ(umask_after({"info"}), 0);
    EXPECT_EQ(umask_after({"info", "--no-neutral-umask"}), 027);
}

}  // namespace
}  // namespace chronos::requests
