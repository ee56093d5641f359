#include "chronos/ops/stop/stop.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "chronos/base/log.h"
#include "chronos/repo/local/lock.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::stop {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StopTest : public testing::Test {
protected:
    StopTest() {
        former_ = set_log_receiver([this](LogLevel level, std::string_view text) {
            if (level <= LogLevel::warn) warnings_.emplace_back(text);
        });
    }
    ~StopTest() override { set_log_receiver(former_); }

    StopRequest request(const std::string& stanza, bool force = false) const {
        return {stanza, lock_path(), force};
    }
    std::string lock_path() const { return directory_ / "locks"; }

    /// A process that holds the backup lock of a stanza until it is ended.
    pid_t start_holder(const std::string& stanza) const {
        int ready[2];
        if (pipe(ready) != 0) return -1;
        const pid_t child = fork();
        if (child == 0) {
            const auto lock = repo::Lock::acquire(
                {lock_path(), stanza, repo::LockType::backup, 1, "9-" + stanza});
            (void)!write(ready[1], lock ? "y" : "n", 1);
            pause();
            _exit(0);
        }
        char answer = 0;
        (void)!read(ready[0], &answer, 1);
        close(ready[0]);
        close(ready[1]);
        return answer == 'y' ? child : -1;
    }
    static int end_of(pid_t child) {
        int status = 0;
        waitpid(child, &status, 0);
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }

    test::TemporaryDirectory directory_;
    std::vector<std::string> warnings_;
    LogReceiver former_;
};

TEST_F(StopTest, KeepsOneStanzaOrAllFromRunningUntilStarted) {
    ASSERT_OK(stop(request("main")));
    EXPECT_ERROR(ErrorKind::stop, repo::check_stop_file(lock_path(), "main"));
    EXPECT_OK(repo::check_stop_file(lock_path(), "other"));
    ASSERT_OK(start(request("main")));
    EXPECT_OK(repo::check_stop_file(lock_path(), "main"));
    ASSERT_OK(stop(request("")));
    EXPECT_ERROR(ErrorKind::stop, repo::check_stop_file(lock_path(), "other"));
    ASSERT_OK(start(request("")));
    EXPECT_OK(repo::check_stop_file(lock_path(), "other"));
    EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(StopTest, WarnsWhereThereIsNothingToDo) {
    ASSERT_OK(start(request("main")));
    ASSERT_OK(start(request("")));
    ASSERT_OK(stop(request("main")));
    ASSERT_OK(stop(request("main")));
    ASSERT_OK(stop(request("")));
    ASSERT_OK(stop(request("")));
    EXPECT_THAT(warnings_,
                ElementsAre("stop file does not exist for stanza main", "stop file does not exist",
                            "stop file already exists for stanza main",
                            "stop file already exists for all stanzas"));
}

TEST_F(StopTest, StopFilesHaveTheModesOfTheFormat) {
    const mode_t mask = umask(0);
    ASSERT_OK(stop(request("main")));
    umask(mask);
    struct stat info = {};
    ASSERT_EQ(::stat((lock_path() + "/main.stop").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0640u);
    ASSERT_EQ(::stat(lock_path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0770u);
}

TEST_F(StopTest, ForceEndsWhoHoldsALockOfTheStanzaAndNobodyElse) {
    const pid_t of_main = start_holder("main");
    const pid_t of_other = start_holder("main-2");
    ASSERT_GT(of_main, 0);
    ASSERT_GT(of_other, 0);
    ASSERT_OK(stop(request("main", true)));
    EXPECT_EQ(end_of(of_main), SIGTERM);
    EXPECT_EQ(kill(of_other, 0), 0) << "of a stanza whose name begins alike";
    ASSERT_OK(stop(request("", true)));
    EXPECT_EQ(end_of(of_other), SIGTERM);
}

TEST_F(StopTest, ForceBelievesNoFileThatNobodyHolds) {
    std::filesystem::create_directories(lock_path());
    const std::string stale = lock_path() + "/main-backup-1.lock";
    std::ofstream(stale) << "{\"execId\":\"1-2\",\"pid\":" << getppid() << "}";
    std::ofstream(lock_path() + "/notes.lock") << "x";
    ASSERT_OK(stop(request("main", true)));
    EXPECT_FALSE(std::filesystem::exists(stale));
    EXPECT_TRUE(std::filesystem::exists(lock_path() + "/notes.lock"));
}

TEST_F(StopTest, ForceLeavesTheLockToItsHolderUntilItEnds) {
    const pid_t holder = start_holder("main");
    ASSERT_GT(holder, 0);
    ASSERT_EQ(kill(holder, SIGSTOP), 0);
    int status = 0;
    ASSERT_EQ(waitpid(holder, &status, WUNTRACED), holder);  // it has stopped, and takes no signal
    ASSERT_OK(stop(request("main", true)));
    EXPECT_ERROR(ErrorKind::lock_acquire,
                 repo::Lock::acquire({lock_path(), "main", repo::LockType::backup, 1, "8-x"}));
    ASSERT_EQ(kill(holder, SIGCONT), 0);
    EXPECT_EQ(end_of(holder), SIGTERM);
    EXPECT_OK(repo::Lock::acquire({lock_path(), "main", repo::LockType::backup, 1, "8-x"}));
}

}  // namespace
}  // namespace chronos::ops::stop
