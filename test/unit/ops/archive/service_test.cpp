#include "chronos/ops/archive/service.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <map>

#include "archive_fixture.h"
#include "ops/archive/compressed.h"

namespace chronos::ops::archive {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// A repository whose uploads hang while `held`: longer than any deadline of a test.
class HangingStorage final : public storage::ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;
    void hold(bool held) {
        const std::lock_guard lock(mutex_);
        held_ = held;
        changed_.notify_all();
    }
    void fail(bool fails) { fails_ = fails; }

    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        CHRONOS_TRY(pass());
        return next_.open(name, range);
    }
    Result<std::unique_ptr<io::Sink>> create(const storage::ObjectName& name,
                                             storage::WriteMode mode) override {
        CHRONOS_TRY(pass());
        return next_.create(name, mode);
    }
    Result<std::optional<storage::Entry>> info(const storage::ObjectName& name) override {
        CHRONOS_TRY(pass());
        return next_.info(name);
    }
    Result<std::vector<storage::Entry>> list(const storage::ObjectName& directory,
                                             const std::string& prefix) override {
        CHRONOS_TRY(pass());
        return next_.list(directory, prefix);
    }

private:
    Result<> pass() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !held_; });
        if (fails_) return Error(ErrorKind::host_connect, "no route to host").as_transient();
        return {};
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    bool held_ = false;
    std::atomic<bool> fails_ = false;
};

class ArchiveService : public ArchiveTest {
protected:
    void SetUp() override {
        ArchiveTest::SetUp();
        add_repository();
        add_repository(/*encrypted=*/true);
        repositories_[0].storage = first_ =
            std::make_shared<HangingStorage>(repositories_[0].storage);
        std::filesystem::create_directories(pg_path() + "/pg_wal/archive_status");
    }
    void TearDown() override { first_->hold(false); }

    static std::string segment(unsigned number) {
        char name[25];
        std::snprintf(name, sizeof(name), "0000000100000000%08X", number);
        return name;
    }
    void make_ready(unsigned number) {
        write_file(wal_path(segment(number)), make_segment(number));
        write_file(pg_path() + "/pg_wal/archive_status/" + segment(number) + ".ready", "");
    }
    void remove_ready(unsigned number) {
        std::filesystem::remove(wal_path("archive_status/" + segment(number) + ".ready"));
    }
    DropSettings drop_settings(std::optional<std::uint64_t> queue_max) const {
        return {queue_max, directory_ / "spool", kStanza, pg_path()};
    }
    std::unique_ptr<PushService> start(std::optional<std::uint64_t> queue_max = std::nullopt) {
        return std::make_unique<PushService>(
            push_settings(), drop_settings(queue_max), AheadSettings{pg_path() + "/pg_wal", 2},
            [this](const std::string& name, const Result<PushService::Acknowledged>& outcome) {
                const std::lock_guard lock(mutex_);
                answers_.emplace(name, !outcome ? outcome.error().message()
                                       : *outcome == PushService::Acknowledged::stored ? "stored"
                                                                                       : "dropped");
            });
    }
    /// "" after ten seconds without one.
    std::string ask_and_await(PushService& service, unsigned number) {
        {
            const std::lock_guard lock(mutex_);
            answers_.clear();
        }
        service.ask(segment(number));
        within(10s, [&] { return !answer(segment(number)).empty(); });
        return answer(segment(number));
    }
    /// What is on record as missing in a repository.
    std::string gaps(unsigned key) {
        const auto info = repo::load_archive_info(repositories_[key - 1], kStanza);
        if (!info) return info.error().message();
        const auto listed =
            repo::list_gaps(repositories_[key - 1], kStanza, "15-1", info->cipher_pass);
        std::string text;
        for (const repo::WalGap& gap : *listed) text += gap.first + ".." + gap.last;
        return text;
    }
    bool within(std::chrono::milliseconds time, const std::function<bool()>& condition) {
        const auto end = std::chrono::steady_clock::now() + time;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(10ms);
        }
        return true;
    }
    std::string answer(const std::string& name) {
        const std::lock_guard lock(mutex_);
        const auto found = answers_.find(name);
        return found == answers_.end() ? "" : found->second;
    }

    std::shared_ptr<HangingStorage> first_;
    std::mutex mutex_;
    std::multimap<std::string, std::string> answers_;
};

TEST_F(ArchiveService, FileIsAnsweredWhenAllRepositoriesHaveIt) {
    make_ready(1);
    const auto service = start();
    service->ask(segment(1));
    ASSERT_TRUE(within(10s, [&] { return !answer(segment(1)).empty(); }));
    EXPECT_EQ(answer(segment(1)), "stored");
    EXPECT_EQ(stored(1).size(), 1u);
    EXPECT_EQ(stored(2).size(), 1u);
    EXPECT_EQ(answers_.size(), 1u);
}

TEST_F(ArchiveService, RepositoryThatHangsHoldsUpNeitherTheOthersNorItself) {
    first_->hold(true);
    for (unsigned i = 1; i <= 20; ++i) make_ready(i);
    const auto service = start();
    service->ask(segment(1));
    EXPECT_TRUE(within(10s, [&] { return stored(2).size() == 20; })) << stored(2).size();
    make_ready(21);
    EXPECT_TRUE(within(10s, [&] { return stored(2).size() == 21; }))
        << "what became ready during the outage";
    EXPECT_EQ(answer(segment(1)), "") << "acknowledged without being in the first";
    first_->hold(false);
    EXPECT_TRUE(within(10s, [&] { return stored(1).size() == 21; })) << "does not catch up";
    EXPECT_EQ(answer(segment(1)), "stored");
}

// What archive-push-queue-max drops is dropped for those that are behind.
TEST_F(ArchiveService, FileIsAnsweredWithoutTheRepositoriesThatGoWithoutIt) {
    first_->fail(true);
    make_ready(1);
    const auto service = start(/*queue_max=*/0);
    EXPECT_THAT(ask_and_await(*service, 1), HasSubstr("no route to host")) << "none has failed yet";
    EXPECT_EQ(ask_and_await(*service, 1), "dropped");
    EXPECT_EQ(stored(2).size(), 1u);
    mount(2).away = true;
    make_ready(2);
    EXPECT_THAT(ask_and_await(*service, 2), HasSubstr("unable to find a valid")) << "of the second";
    answers_.clear();
    service->ask(segment(2));
    EXPECT_EQ(answer(segment(2)), "dropped") << "at once, by both";
    first_->fail(false);
}

TEST_F(ArchiveService, GapReachesTheRepositoryThatWentWithoutWhenItTakesFilesAgain) {
    first_->fail(true);
    make_ready(1);
    auto service = start(/*queue_max=*/0);
    ask_and_await(*service, 1);
    ASSERT_EQ(ask_and_await(*service, 1), "dropped");
    remove_ready(1);
    first_->fail(false);
    service = start();
    make_ready(2);
    ASSERT_EQ(ask_and_await(*service, 2), "stored");
    EXPECT_EQ(gaps(1), segment(1) + ".." + segment(1));
    EXPECT_EQ(gaps(2), "");
}

// By the command archive-push, which knows of no one repository that is behind, or by an engine
// that had only one.
TEST_F(ArchiveService, WhatAllWentWithoutIsRecordedInEach) {
    make_ready(1);
    ASSERT_OK(DroppedWal(drop_settings(0)).drop(segment(1), wal_path(segment(1))));
    const std::string history = "00000002.history";
    write_file(wal_path(history), "1\t0/3000000\tno recovery target\n");
    ASSERT_OK(DroppedWal(drop_settings(0)).drop(history, wal_path(history)));
    remove_ready(1);
    const auto service = start();
    make_ready(2);
    ASSERT_EQ(ask_and_await(*service, 2), "stored");
    for (const unsigned key : {1, 2}) {
        EXPECT_TRUE(within(10s, [&] { return !gaps(key).empty(); }));
        EXPECT_EQ(gaps(key), segment(1) + ".." + segment(1));
    }
    EXPECT_TRUE(within(10s, [&] {
        return !std::filesystem::exists(directory_ / ("spool/chronos/main/dropped/" + history));
    }));
    for (const unsigned key : {1, 2}) EXPECT_FALSE(read_file(stored_path(key, history)).empty());
}

TEST_F(ArchiveService, FailureNamesTheRepositoryAndItCatchesUpByItself) {
    first_->fail(true);
    for (unsigned i = 1; i <= 5; ++i) make_ready(i);
    const auto service = start();
    service->ask(segment(1));
    ASSERT_TRUE(within(10s, [&] { return !answer(segment(1)).empty(); }));
    EXPECT_THAT(answer(segment(1)), HasSubstr("\nrepo1: [HostConnectError] no route to host"));
    EXPECT_TRUE(within(10s, [&] { return stored(2).size() == 5; }));
    first_->fail(false);
    EXPECT_TRUE(within(10s, [&] { return stored(1).size() == 5; }));
}

TEST_F(ArchiveService, BothFailuresAreNamedUnderOneHeading) {
    first_->fail(true);
    mount(2).away = true;
    make_ready(1);
    const auto service = start();
    service->ask(segment(1));
    ASSERT_TRUE(within(10s, [&] { return !answer(segment(1)).empty(); }));
    const std::string text = answer(segment(1));
    EXPECT_THAT(text, HasSubstr("\nrepo1: ["));
    EXPECT_THAT(text, HasSubstr("\nrepo2: ["));
    EXPECT_EQ(text.find("unable to find a valid"), text.rfind("unable to find a valid"));
}

TEST(CompressedSegments, AreMadeOnceForAllAndThenForgotten) {
    CompressedSegments segments(2, 2);
    int made = 0;
    const auto make = [&]() -> Result<std::string> { return std::to_string(++made); };
    EXPECT_EQ(**segments.get("a", make), "1");
    EXPECT_EQ(**segments.get("a", make), "1");
    EXPECT_EQ(**segments.get("a", make), "2") << "kept for nobody";
    EXPECT_EQ(**segments.get("b", make), "3");
    EXPECT_EQ(**segments.get("c", make), "4");
    EXPECT_EQ(**segments.get("a", make), "5") << "more kept than allowed";
}

}  // namespace
}  // namespace chronos::ops::archive
