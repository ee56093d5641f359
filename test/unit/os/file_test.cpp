#include "chronos/os/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::os {
namespace {

using testing::HasSubstr;

constexpr std::size_t kMax = std::size_t{64} << 20;

std::size_t count_entries(const std::string& directory) {
    const std::filesystem::directory_iterator entries(directory);
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

TEST(ReadSmall, GivesTheWholeContentAndNoMoreThanMayBe) {
    const test::TemporaryDirectory directory;
    const std::string content(100'000, 'x');
    ASSERT_OK(write_whole(directory / "file", content));
    EXPECT_EQ(read_small(directory / "file", content.size()).value(), content);
    const auto longer = read_small(directory / "file", content.size() - 1);
    EXPECT_ERROR(ErrorKind::file_read, longer);
    EXPECT_THAT(longer.error().message(), HasSubstr("more than 99999 bytes"));
    EXPECT_EQ(read_or_empty(directory / "file", content.size() - 1), "");
    EXPECT_EQ(read_small("/proc/self/cmdline", kMax).value().find("unit_os") != std::string::npos,
              true);
}

TEST(ReadSmall, TellsWhatIsMissingFromWhatCannotBeRead) {
    const test::TemporaryDirectory directory;
    EXPECT_ERROR(ErrorKind::file_open, read_small(directory / "none", kMax));
    EXPECT_EQ(read_if_there(directory / "none", kMax).value(), std::nullopt);
    EXPECT_EQ(read_or_empty(directory / "none", kMax), "");
    EXPECT_ERROR(ErrorKind::file_read, read_if_there(directory.path(), kMax));
}

TEST(ReadPart, IsAllOfThePartOrNothing) {
    const test::TemporaryDirectory directory;
    const std::string path = directory / "file";
    std::ofstream(path) << "0123456789";
    EXPECT_EQ(read_part_or_empty(path, 0, 4), "0123");
    EXPECT_EQ(read_part_or_empty(path, 6, 4), "6789");
    EXPECT_EQ(read_part_or_empty(path, 7, 4), "");
    EXPECT_EQ(read_part_or_empty(path, 100, 4), "");
    EXPECT_EQ(read_part_or_empty(directory / "none", 0, 4), "");
    EXPECT_EQ(read_part_or_empty(directory.path(), 0, 4), "");
}

TEST(WriteWhole, HasTheModeThatIsAskedForAndLeavesNothingElse) {
    const test::TemporaryDirectory directory;
    const mode_t former = umask(077);
    ASSERT_OK(write_whole(directory / "file", "one", 0644));
    umask(former);
    struct stat status = {};
    ASSERT_EQ(stat((directory / "file").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777u, 0644u);
    ASSERT_OK(write_whole(directory / "file", ""));
    EXPECT_EQ(read_small(directory / "file", kMax).value(), "");
    EXPECT_EQ(count_entries(directory.path()), 1u);
}

TEST(WriteWhole, ReplacesALinkAndNotWhatItLeadsTo) {
    const test::TemporaryDirectory directory;
    ASSERT_OK(write_whole(directory / "other", "kept"));
    ASSERT_EQ(symlink("other", (directory / "file").c_str()), 0);
    ASSERT_OK(write_whole(directory / "file", "new"));
    EXPECT_EQ(read_small(directory / "other", kMax).value(), "kept");
    EXPECT_EQ(read_small(directory / "file", kMax).value(), "new");
}

// As on a full disk: the write that does not fit fails in its middle.
TEST(WriteWhole, ThatFailsLeavesTheOldContentAndNoHalfOfTheNew) {
    const test::TemporaryDirectory directory;
    ASSERT_OK(write_whole(directory / "file", "old"));
    const pid_t pid = fork();
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{10'000, 10'000};
        setrlimit(RLIMIT_FSIZE, &limit);
        const auto written = write_whole(directory / "file", std::string(100'000, 'n'));
        _exit(!written && written.error().kind() == ErrorKind::file_write ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(read_small(directory / "file", kMax).value(), "old");
    EXPECT_EQ(count_entries(directory.path()), 1u);
}

TEST(WriteWhole, ThatIsKilledAtAnyMomentLeavesTheOldContentOrTheNew) {
    const test::TemporaryDirectory directory;
    const std::string path = directory / "file";
    const std::string contents[] = {std::string(300'000, 'a'), std::string(200'000, 'b')};
    ASSERT_OK(write_whole(path, contents[0]));
    const unsigned seed = std::random_device()();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 40; ++round) {
        const pid_t pid = fork();
        if (pid == 0)
            for (unsigned i = 0;; ++i)
                if (!write_whole(path, contents[i % 2])) _exit(1);
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 6000));
        kill(pid, SIGKILL);
        int status = 0;
        waitpid(pid, &status, 0);
        ASSERT_TRUE(WIFSIGNALED(status));
        const std::string found = read_small(path, kMax).value();
        ASSERT_TRUE(found == contents[0] || found == contents[1]) << found.size() << " bytes";
    }
}

TEST(WriteWhole, OfTwoAtOnceIsThatOfOne) {
    const test::TemporaryDirectory directory;
    const std::string path = directory / "file";
    const auto write = [&](char letter) {
        for (int i = 0; i < 50; ++i) EXPECT_OK(write_whole(path, std::string(100'000, letter)));
    };
    std::thread other(write, 'a');
    write('b');
    other.join();
    const std::string found = read_small(path, kMax).value();
    EXPECT_TRUE(found == std::string(100'000, 'a') || found == std::string(100'000, 'b'));
    EXPECT_EQ(count_entries(directory.path()), 1u);
}

TEST(FileDescriptor, ClosesOnceAndSaysWhetherThatWorked) {
    FileDescriptor file(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const int number = file.get();
    EXPECT_TRUE(file.close());
    EXPECT_FALSE(file.valid());
    EXPECT_EQ(fcntl(number, F_GETFD), -1);
    EXPECT_TRUE(file.close());
    FileDescriptor stolen(open("/dev/null", O_RDONLY | O_CLOEXEC));
    close(stolen.get());
    EXPECT_FALSE(stolen.close());
}

}  // namespace
}  // namespace chronos::os
