#include "chronos/repo/local/lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "fixture.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

using test::read_file;
using test::write_file;

class LockFile : public testing::Test {
protected:
    LockRequest request(const std::string& exec_id = "1-00000000") const {
        return {directory_ / "new/locks", "main", LockType::backup, 2, exec_id};
    }
    std::string path() const { return directory_ / "new/locks/main-backup-2.lock"; }
    std::string stanza_path() const { return directory_ / "new/locks/main-backup.lock"; }

    test::TemporaryDirectory directory_;
};

TEST_F(LockFile, IsNowhereIfNobodySaidWhere) {
    EXPECT_THROW((void)Lock::acquire({"", "main", LockType::backup, 1, "1-aaaaaaaa"}),
                 std::logic_error);
    EXPECT_THROW((void)check_stop_file("", "main"), std::logic_error);
    EXPECT_THROW((void)write_stop_file("", "main"), std::logic_error);
}

TEST_F(LockFile, HoldsWhatOtherToolsReadAndGoesWithItsHolder) {
    {
        const auto lock = Lock::acquire(request("77-e77c9c06"));
        ASSERT_OK(lock);
        EXPECT_EQ(read_file(path()),
                  "{\"execId\":\"77-e77c9c06\",\"pid\":" + std::to_string(::getpid()) + "}");
        const LockState state = look_at_lock(request());
        EXPECT_TRUE(state.held);
        EXPECT_EQ(state.pid, ::getpid());
        EXPECT_EQ(state.size_bytes, std::nullopt);
    }
    EXPECT_FALSE(std::filesystem::exists(path()));
    EXPECT_FALSE(std::filesystem::exists(stanza_path()));
    EXPECT_FALSE(look_at_lock(request()).held);
}

// pgBackRest 2.45 has one lock file for all repositories of a stanza.
TEST_F(LockFile, OldReleasesAreExcludedUntilTheLastOfOursIsGone) {
    const auto old_release_is_excluded = [this] {
        const int file = ::open(stanza_path().c_str(), O_RDWR | O_CREAT, 0640);
        const bool excluded = ::flock(file, LOCK_EX | LOCK_NB) != 0;
        ::close(file);
        return excluded;
    };
    LockRequest other = request("2-bbbbbbbb");
    other.repo_key = 1;
    auto first = Lock::acquire(request());
    auto second = Lock::acquire(other);
    ASSERT_OK(first);
    ASSERT_OK(second);
    EXPECT_TRUE(old_release_is_excluded());
    first->reset();
    EXPECT_TRUE(old_release_is_excluded());
    second->reset();
    EXPECT_FALSE(std::filesystem::exists(stanza_path()));
    EXPECT_FALSE(old_release_is_excluded());
}

TEST_F(LockFile, OldReleasesExcludeUs) {
    std::filesystem::create_directories(directory_ / "new/locks");
    write_file(stanza_path(), "{\"execId\":\"5-eeeeeeee\",\"pctCplt\":288,\"pid\":5}");
    const int old = ::open(stanza_path().c_str(), O_RDWR);
    ASSERT_EQ(::flock(old, LOCK_EX | LOCK_NB), 0);
    EXPECT_TRUE(look_at_lock(request()).held);
    EXPECT_ERROR(ErrorKind::lock_acquire, Lock::acquire(request()));
    ::close(old);
    EXPECT_OK(Lock::acquire(request()));
}

TEST_F(LockFile, ASecondCommandIsRefusedAndToldWhoHoldsIt) {
    const auto first = Lock::acquire(request("1-aaaaaaaa"));
    ASSERT_OK(first);
    const auto second = Lock::acquire(request("2-bbbbbbbb"));
    EXPECT_ERROR(ErrorKind::lock_acquire, second);
    EXPECT_EQ(second.error().message(),
              "unable to acquire lock on file '" + path() + "': Resource temporarily unavailable");
    EXPECT_NE(second.error().hint().find(std::to_string(::getpid())), std::string::npos);
    EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_F(LockFile, OneCommandMayTakeItTwiceAndOnlyItsHolderReleasesIt) {
    const auto first = Lock::acquire(request("1-aaaaaaaa"));
    ASSERT_OK(first);
    {
        const auto second = Lock::acquire(request("1-aaaaaaaa"));
        ASSERT_OK(second);
        (*second)->report_progress(100, 50);
    }
    EXPECT_TRUE(look_at_lock(request()).held);
    EXPECT_EQ(look_at_lock(request()).size_bytes, std::nullopt);
}

TEST_F(LockFile, TypesStanzasAndRepositoriesDoNotExcludeEachOther) {
    const auto first = Lock::acquire(request());
    ASSERT_OK(first);
    LockRequest other = request("2-bbbbbbbb");
    other.type = LockType::restore;
    EXPECT_OK(Lock::acquire(other));
    other.type = LockType::backup;
    other.repo_key = 1;
    EXPECT_OK(Lock::acquire(other));
    other.repo_key = 2;
    other.stanza = "other";
    EXPECT_OK(Lock::acquire(other));
}

TEST_F(LockFile, WhatAKilledProcessLeftIsNotALock) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const auto lock = Lock::acquire(request("3-cccccccc"));
        ::raise(lock ? SIGKILL : SIGTERM);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_EQ(WTERMSIG(status), SIGKILL);
    ASSERT_TRUE(std::filesystem::exists(path()));
    EXPECT_FALSE(look_at_lock(request()).held);
    const auto lock = Lock::acquire(request("4-dddddddd"));
    ASSERT_OK(lock);
    EXPECT_NE(read_file(path()).find("4-dddddddd"), std::string::npos);
}

TEST_F(LockFile, ProgressIsRewrittenWhenItGrewByMoreThanATenthOfAPercent) {
    const auto lock = Lock::acquire(request("1-aaaaaaaa"));
    ASSERT_OK(lock);
    const std::string pid = std::to_string(::getpid());
    const auto shown = [&](const std::string& percent, const std::string& complete) {
        return "{\"execId\":\"1-aaaaaaaa\",\"pctCplt\":" + percent + ",\"pid\":" + pid +
               ",\"sz\":100000,\"szCplt\":" + complete + "}";
    };
    (*lock)->report_progress(100000, 0);
    EXPECT_EQ(read_file(path()), shown("0", "0"));
    (*lock)->report_progress(100000, 100);
    EXPECT_EQ(read_file(path()), shown("0", "0"));
    (*lock)->report_progress(100000, 110);
    EXPECT_EQ(read_file(path()), shown("11", "110"));
    (*lock)->report_progress(100000, 29560);
    EXPECT_EQ(read_file(path()), shown("2956", "29560"));
    EXPECT_EQ(read_file(stanza_path()), shown("2956", "29560"));
    const LockState state = look_at_lock(request());
    EXPECT_TRUE(state.held);
    EXPECT_EQ(state.size_bytes, 100000u);
    EXPECT_EQ(state.size_complete_bytes, 29560u);
}

TEST_F(LockFile, ALockedFileWithoutContentIsNotHeldForReaders) {
    std::filesystem::create_directories(directory_ / "new/locks");
    write_file(path(), "{\"execId\":");
    const int other = ::open(path().c_str(), O_RDWR);
    ASSERT_EQ(::flock(other, LOCK_EX | LOCK_NB), 0);
    EXPECT_FALSE(look_at_lock(request()).held);
    EXPECT_ERROR(ErrorKind::lock_acquire, Lock::acquire(request()));
    ::close(other);
}

// `info` locks the file for a moment to see whether somebody else does.
TEST_F(LockFile, ALookFromOutsideDoesNotFailACommand) {
    std::filesystem::create_directories(directory_ / "new/locks");
    write_file(path(), "");
    const int other = ::open(path().c_str(), O_RDWR);
    ASSERT_EQ(::flock(other, LOCK_EX | LOCK_NB), 0);
    std::thread looker([other] {
        std::this_thread::sleep_for(std::chrono::milliseconds(40));
        ::close(other);
    });
    EXPECT_OK(Lock::acquire(request()));
    looker.join();
}

// Holders unlink the file: whoever locks an unlinked one would be alone with it.
TEST_F(LockFile, ExcludesWhileManyTakeAndReleaseIt) {
    std::atomic<int> inside = 0;
    std::atomic<int> taken = 0;
    std::atomic<bool> overlap = false;
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number)
        threads.emplace_back([&, number] {
            for (int round = 0; round < 200; ++round) {
                const auto lock = Lock::acquire(request(std::to_string(number + 1) + "-00000000"));
                if (!lock) continue;
                ++taken;
                if (++inside > 1) overlap = true;
                --inside;
            }
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(overlap);
    EXPECT_GT(taken, 200);
}

TEST_F(LockFile, ADirectoryThatCannotBeMadeIsNamed) {
    write_file(directory_ / "new", "a file where the directory should be");
    const auto lock = Lock::acquire(request());
    ASSERT_FALSE(lock);
    EXPECT_NE(lock.error().message().find(directory_ / "new/locks"), std::string::npos);
}

TEST(StopFile, ForbidsItsStanzaOrAll) {
    const test::TemporaryDirectory directory;
    EXPECT_OK(check_stop_file(directory.path(), "main"));
    EXPECT_OK(check_stop_file(directory / "missing", "main"));
    write_file(directory / "other.stop", "");
    EXPECT_OK(check_stop_file(directory.path(), "main"));
    write_file(directory / "all.stop", "");
    const auto all = check_stop_file(directory.path(), "main");
    EXPECT_ERROR(ErrorKind::stop, all);
    EXPECT_EQ(all.error().message(), "stop file exists for all stanzas");
    write_file(directory / "main.stop", "");
    const auto one = check_stop_file(directory.path(), "main");
    EXPECT_ERROR(ErrorKind::stop, one);
    EXPECT_EQ(one.error().message(), "stop file exists for stanza main");
}

}  // namespace
}  // namespace chronos::repo
