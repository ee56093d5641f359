#include "ops/drill/scratch.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "chronos/os/process.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::drill {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

void write(const std::string& path, const std::string& text = "x") {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
}

/// Makes a directory as a drill does and leaves it as one that was killed.
std::string abandoned(const std::string& parent, const std::string& to = "") {
    int ends[2];
    if (pipe(ends) != 0) return "";
    const pid_t pid = fork();
    if (pid == 0) {
        auto directory = ScratchDirectory::create(parent, to, "main");
        if (!directory) _exit(1);
        const std::string path = directory->scratch().path;
        write(path + "/data/base/1");
        if (::write(ends[1], path.data(), path.size()) < 0) _exit(1);
        kill(getpid(), SIGKILL);
    }
    close(ends[1]);
    char path[4096];
    const ssize_t size = read(ends[0], path, sizeof path);
    close(ends[0]);
    waitpid(pid, nullptr, 0);
    return std::string(path, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
}

TEST(ScratchDirectory, IsGoneWithItsDrill) {
    const test::TemporaryDirectory parent;
    {
        const auto directory = ScratchDirectory::create(parent.path(), "", "main");
        ASSERT_OK(directory);
        write(directory->scratch().data() + "/base/1");
        EXPECT_FALSE(fs::is_empty(parent.path()));
    }
    EXPECT_TRUE(fs::is_empty(parent.path()));
}

TEST(ScratchDirectory, OfAKilledDrillIsRemovedBySeveralAtOnce) {
    constexpr int kSweepers = 4;
    const auto begin = std::chrono::steady_clock::now();
    for (int round = 0; round < 10; ++round) {
        const test::TemporaryDirectory parent;
        const std::string path = abandoned(parent.path());
        for (int i = 0; i < 200; ++i) write(path + "/data/base/" + std::to_string(i));
        for (int i = 0; i < kSweepers; ++i)
            if (fork() == 0) _exit(sweep(parent.path(), false) ? 0 : 1);
        for (int i = 0; i < kSweepers; ++i) {
            int status = 0;
            wait(&status);
            EXPECT_EQ(status, 0);
        }
        EXPECT_TRUE(fs::is_empty(parent.path()));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
}

TEST(ScratchDirectory, OfARunningDrillIsNoLeftover) {
    const test::TemporaryDirectory parent;
    const auto directory = ScratchDirectory::create(parent.path(), "", "main");
    EXPECT_THAT(sweep(parent.path(), false).value(), IsEmpty());
    EXPECT_TRUE(fs::exists(directory->scratch().path));
}

TEST(ScratchDirectory, OfAKilledDrillIsRemovedBySweep) {
    const test::TemporaryDirectory parent;
    const std::string path = abandoned(parent.path());
    ASSERT_TRUE(fs::exists(path + "/data/base/1"));
    EXPECT_THAT(sweep(parent.path(), /*dry_run=*/true).value(), ElementsAre(path));
    EXPECT_TRUE(fs::exists(path + "/data/base/1"));
    EXPECT_THAT(sweep(parent.path(), false).value(), ElementsAre(path));
    EXPECT_TRUE(fs::is_empty(parent.path()));
}

TEST(ScratchDirectory, OfAKilledDrillElsewhereIsFoundThroughItsLink) {
    const test::TemporaryDirectory parent;
    const test::TemporaryDirectory other;
    const std::string to = other / "there";
    EXPECT_EQ(abandoned(parent.path(), to), to);
    EXPECT_THAT(sweep(parent.path(), false).value(), ElementsAre(to));
    EXPECT_FALSE(fs::exists(to));
    EXPECT_TRUE(fs::is_empty(parent.path()));
}

TEST(ScratchDirectory, ThatWasThereBeforeStaysEmpty) {
    const test::TemporaryDirectory parent;
    const test::TemporaryDirectory to;
    {
        const auto directory = ScratchDirectory::create(parent.path(), to.path(), "main");
        ASSERT_OK(directory);
        write(directory->scratch().data() + "/base/1");
    }
    EXPECT_TRUE(fs::is_empty(to.path()));
}

TEST(ScratchDirectory, IsNoneThatHoldsSomething) {
    const test::TemporaryDirectory parent;
    const test::TemporaryDirectory to;
    write(to / "precious");
    const auto directory = ScratchDirectory::create(parent.path(), to.path(), "main");
    EXPECT_ERROR(ErrorKind::path_not_empty, directory);
    EXPECT_TRUE(fs::exists(to / "precious"));
    EXPECT_TRUE(fs::is_empty(parent.path()));
}

TEST(ScratchDirectory, KeptIsNeverRemoved) {
    const test::TemporaryDirectory parent;
    std::string path;
    {
        auto directory = ScratchDirectory::create(parent.path(), "", "main");
        path = directory->scratch().path;
        write(path + "/data/base/1");
        ASSERT_OK(directory->keep());
    }
    EXPECT_THAT(sweep(parent.path(), false).value(), IsEmpty());
    EXPECT_TRUE(fs::exists(path + "/data/base/1"));
    EXPECT_ERROR(ErrorKind::path_not_empty, ScratchDirectory::create(parent.path(), path, "main"));
}

TEST(Sweep, LeavesAloneWhatHasNoMarker) {
    const test::TemporaryDirectory parent;
    const test::TemporaryDirectory other;
    write(parent / "chronos-drill-foreign/precious");
    write(other / "precious");
    fs::create_directory_symlink(other.path(), parent / "chronos-drill-link");
    write(parent / "unrelated/chronos-drill.marker", "pid=1\nstart=1\nmade=y\n");
    EXPECT_THAT(sweep(parent.path(), false).value(), IsEmpty());
    EXPECT_TRUE(fs::exists(parent / "chronos-drill-foreign/precious"));
    EXPECT_TRUE(fs::exists(other / "precious"));
    EXPECT_TRUE(fs::exists(parent / "unrelated/chronos-drill.marker"));
}

TEST(Sweep, FollowsNoLinkOutOfADirectory) {
    const test::TemporaryDirectory parent;
    const test::TemporaryDirectory other;
    write(other / "precious");
    const std::string path = abandoned(parent.path());
    fs::create_directory_symlink(other.path(), path + "/data/pg_tblspc");
    EXPECT_THAT(sweep(parent.path(), false).value(), ElementsAre(path));
    EXPECT_TRUE(fs::exists(other / "precious"));
}

TEST(Sweep, StopsNoProcessThatRunsElsewhere) {
    const test::TemporaryDirectory parent;
    const std::string path = abandoned(parent.path());
    const pid_t stranger = fork();
    if (stranger == 0) {
        pause();
        _exit(0);
    }
    // A process id that was given to somebody else meanwhile.
    write(path + "/data/postmaster.pid", std::to_string(stranger) + "\n" + path + "/data\n");
    EXPECT_THAT(sweep(parent.path(), false).value(), ElementsAre(path));
    EXPECT_EQ(kill(stranger, 0), 0);
    EXPECT_EQ(waitpid(stranger, nullptr, WNOHANG), 0);
    kill(stranger, SIGKILL);
    waitpid(stranger, nullptr, 0);
}

TEST(ScratchDirectory, LockIsNotThatOfAProgram) {
    const test::TemporaryDirectory directory;
    const auto scratch = ScratchDirectory::create(directory.path(), "", "main");
    std::string text;
    ASSERT_OK(os::run({.arguments = {"ls", "-l", "/proc/self/fd"}}, {std::chrono::seconds(10)},
                      [&](std::string_view chunk) { text += chunk; }));
    EXPECT_THAT(text, testing::HasSubstr("/dev/null"));
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("marker")));
}

}  // namespace
}  // namespace chronos::ops::drill
