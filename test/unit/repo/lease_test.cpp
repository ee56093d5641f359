#include "chronos/repo/side/lease.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "chronos/base/process_id.h"
#include "chronos/storage/posix/posix_storage.h"
#include "fault_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::repo {
namespace {

using testing::HasSubstr;

/// A repository with a stanza, as far as a lease looks.
class TakeLease : public testing::Test {
protected:
    TakeLease() {
        repository_.storage = storage::make_posix_storage(directory_.path());
        std::filesystem::create_directories(directory_ / "backup/main");
        std::ofstream(directory_ / "backup/main/backup.info") << "of no interest";
    }
    auto take(const std::string& exec_id, const std::string& server = "") {
        return Lease::take(repository_, {"main", "backup", exec_id, server});
    }
    std::string path(const std::string& name) const {
        return directory_ / ("chronos/main/run/" + name);
    }
    /// What another run has left, `age` ago.
    void leave(const ProcessIdentity& process, std::chrono::seconds age = {},
               const std::string& server = "") {
        std::filesystem::create_directories(directory_ / "chronos/main/run");
        std::ofstream(path("7-other"))
            << R"({"what":"expire","server":")" << server << R"(","host":")" << process.host
            << R"(","boot":")" << process.boot_id << R"(","namespace":")" << process.pid_namespace
            << R"(","pid":")" << process.pid << R"(","start":")" << process.start_ticks << "\"}\n";
        std::filesystem::last_write_time(path("7-other"),
                                         std::filesystem::file_time_type::clock::now() - age);
    }
    static ProcessIdentity elsewhere() { return {"far", "boot", "pid:[1]", 7, 7}; }

    test::TemporaryDirectory directory_;
    Repository repository_;
};

TEST_F(TakeLease, KeepsOthersOutAndLeavesNothing) {
    {
        const auto first = take("1-first");
        ASSERT_OK(first);
        ASSERT_TRUE(*first);
        EXPECT_OK((*first)->prove());
        const auto second = take("1-second");
        EXPECT_ERROR(ErrorKind::lock_acquire, second);
        EXPECT_THAT(second.error().message(),
                    HasSubstr("'backup' of process " + std::to_string(getpid())));
        EXPECT_THAT(second.error().hint(), HasSubstr("end process " + std::to_string(getpid())));
        EXPECT_TRUE(std::filesystem::exists(path("1-first")));
        EXPECT_FALSE(std::filesystem::exists(path("1-second")));
    }
    EXPECT_OK(take("1-second"));
    EXPECT_FALSE(std::filesystem::exists(directory_ / "chronos"));
}

TEST_F(TakeLease, OfTheSameCommandTwice) {
    const auto first = take("1-first");
    ASSERT_OK(first);
    EXPECT_OK(take("1-first"));
}

TEST_F(TakeLease, WhoseHolderHasEndedOnThisMachine) {
    ProcessIdentity gone = ProcessIdentity::of_this_process();
    gone.pid = fork();
    if (gone.pid == 0) _exit(0);
    waitpid(gone.pid, nullptr, 0);
    leave(gone);
    EXPECT_OK(take("1-first"));
    EXPECT_FALSE(std::filesystem::exists(path("7-other")));
}

// The id of a process is given to another one some day.
TEST_F(TakeLease, WhoseHolderHadTheIdOfALivingProcess) {
    ProcessIdentity former = ProcessIdentity::of_this_process();
    former.start_ticks -= 1;
    leave(former);
    EXPECT_OK(take("1-first"));
}

TEST_F(TakeLease, OfAnotherHostWhileItIsRenewed) {
    leave(elsewhere(), std::chrono::seconds(60));
    const auto refused = take("1-first");
    EXPECT_ERROR(ErrorKind::lock_acquire, refused);
    EXPECT_THAT(refused.error().hint(), HasSubstr("more than 180 seconds old"));
    leave(elsewhere(), std::chrono::seconds(300));
    EXPECT_OK(take("1-first"));
}

// Its session has ended: this one holds the lock that belongs to it.
TEST_F(TakeLease, OfAnotherHostWithTheSameServerOnceItsLockIsOurs) {
    leave(elsewhere(), {}, "1-2");
    EXPECT_ERROR(ErrorKind::lock_acquire, take("1-first", "1-3"));
    EXPECT_OK(take("1-first", "1-2"));
}

TEST_F(TakeLease, IsNoProofOnceSomebodyElseHasCome) {
    const auto lease = take("1-first");
    ASSERT_OK(lease);
    leave(elsewhere());
    EXPECT_ERROR(ErrorKind::lock_acquire, (*lease)->prove());
}

// At a standstill for minutes, replaced, and nobody is there any more when it goes on.
TEST_F(TakeLease, IsNoProofOnceSomebodyElseHasComeAndGone) {
    const auto lease = take("1-first");
    ASSERT_OK(lease);
    std::filesystem::remove(path("1-first"));
    const auto lost = (*lease)->prove();
    EXPECT_ERROR(ErrorKind::lock_acquire, lost);
    EXPECT_THAT(lost.error().message(), HasSubstr("taken for dead"));
}

TEST_F(TakeLease, WithAnUnreadableOtherOneIsRefused) {
    std::filesystem::create_directories(directory_ / "chronos/main/run");
    std::ofstream(path("7-other")) << "no json";
    EXPECT_ERROR(ErrorKind::lock_acquire, take("1-first"));
}

/// A full disk, as long as it is: a sign of life cannot be written.
class TakeLeaseOnAFullDisk : public TakeLease {
protected:
    TakeLeaseOnAFullDisk() {
        auto fault = std::make_shared<test::FaultStorage>(*disk_);
        fault->add({test::Operation::create, "chronos/*", 1, 2,
                    system_error(ErrorKind::file_write, "unable to write", ENOSPC)});
        repository_.storage = fault;
    }
    auto take_to_remove() {
        return Lease::take(repository_, {"main", "expire", "1-first", "", /*only_removes=*/true});
    }

    std::shared_ptr<storage::Storage> disk_ = repository_.storage;
};

TEST_F(TakeLeaseOnAFullDisk, OnlyToMakeRoom) {
    const auto refused = take("1-first");
    EXPECT_ERROR(ErrorKind::file_write, refused);
    EXPECT_TRUE(refused.error().no_space());
}

TEST_F(TakeLeaseOnAFullDisk, WithASignOnceThereIsRoom) {
    const auto lease = take_to_remove();
    ASSERT_OK(lease);
    EXPECT_FALSE(std::filesystem::exists(path("1-first")));
    EXPECT_OK((*lease)->prove());
    EXPECT_TRUE(std::filesystem::exists(path("1-first")));
    std::filesystem::remove(path("1-first"));
    EXPECT_ERROR(ErrorKind::lock_acquire, (*lease)->prove());  // from then on as any other
}

TEST_F(TakeLeaseOnAFullDisk, NotWhileSomebodyElseIsAlive) {
    leave(elsewhere());
    EXPECT_ERROR(ErrorKind::lock_acquire, take_to_remove());
}

// The directory may be one whose file system is not mounted.
TEST_F(TakeLease, WritesNothingWhereThereIsNoStanza) {
    std::filesystem::remove_all(directory_ / "backup");
    const auto lease = take("1-first");
    ASSERT_OK(lease);
    EXPECT_FALSE(*lease);
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(TakeLease, WhatARunHasBegunIsResumedOnlyIfItWasSeenToHaveEnded) {
    const std::string unfinished = directory_ / "backup/main/20261120-075745F/backup.manifest.copy";
    const std::string complete = directory_ / "backup/main/20261119-075745F/backup.manifest.copy";
    for (const std::string& copy : {unfinished, complete}) {
        std::filesystem::create_directories(std::filesystem::path(copy).parent_path());
        std::ofstream(copy) << "of no interest";
    }
    std::ofstream(directory_ / "backup/main/20261119-075745F/backup.manifest") << "of no interest";

    ProcessIdentity ended = ProcessIdentity::of_this_process();
    ++ended.start_ticks;
    leave(ended);
    ASSERT_OK(take("1-first"));
    EXPECT_TRUE(std::filesystem::exists(unfinished));

    leave(elsewhere(), std::chrono::seconds(181));
    ASSERT_OK(take("1-second"));
    EXPECT_FALSE(std::filesystem::exists(unfinished));
    EXPECT_TRUE(std::filesystem::exists(complete));
}

}  // namespace
}  // namespace chronos::repo
