#include "ops/archive/push_queue.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "archive_fixture.h"
#include "chronos/ops/archive/ready.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::archive {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;
using namespace std::chrono_literals;

/// The queue with threads that store what is next in it, as a lane's do.
class Workers {
public:
    using Push = std::function<Result<>(const std::string& name)>;
    using Answer = std::function<void(const std::string& name, const Result<>& outcome)>;
    Workers(const std::string& wal_path, std::size_t count, Push push, Answer answer)
        : queue_(wal_path, count), push_(std::move(push)), answer_(std::move(answer)) {
        for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
    }
    ~Workers() { queue_.stop(); }
    void ask(const std::string& name) {
        if (queue_.ask(name)) answer_(name, {});
    }

private:
    void work() {
        while (const auto item = queue_.next()) {
            const Result<> outcome = push_(item->name);
            if (queue_.complete(*item, outcome)) answer_(item->name, outcome);
        }
    }
    PushQueue queue_;
    const Push push_;
    const Answer answer_;
    std::vector<std::jthread> threads_;
};

/// A pg_wal directory, and a repository that is a list of names.
class Ahead : public testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(wal_path() + "/archive_status"); }

    std::string wal_path() const { return directory_ / "pg_wal"; }
    std::string mark(const std::string& name) const {
        return wal_path() + "/archive_status/" + name + ".ready";
    }
    void make_ready(const std::string& name, const std::string& content = "wal") {
        std::ofstream(wal_path() + "/" + name) << content;
        std::ofstream(mark(name)) << "";
    }

    std::unique_ptr<Workers> start(std::size_t threads) {
        return std::make_unique<Workers>(
            wal_path(), threads, [this](const std::string& name) { return push(name); },
            [this](const std::string& name, const Result<>& outcome) {
                const std::lock_guard lock(mutex_);
                answers_.emplace_back(name, static_cast<bool>(outcome));
                changed_.notify_all();
            });
    }

    Result<> push(const std::string& name) {
        std::unique_lock lock(mutex_);
        pushed_.push_back(name);
        running_max_ = std::max(running_max_, ++running_);
        changed_.notify_all();
        changed_.wait(lock, [&] { return !held_.contains(name); });
        --running_;
        changed_.notify_all();
        if (broken_) return Error(ErrorKind::service, "away");
        return {};
    }

    template <class Condition>
    void await(const Condition& condition) {
        std::unique_lock lock(mutex_);
        ASSERT_TRUE(changed_.wait_for(lock, 10s, condition)) << "waited in vain";
    }
    void ask_and_await(Workers& ahead, const std::string& name, bool expected) {
        ahead.ask(name);
        await([&] { return !answers_.empty(); });
        const std::lock_guard lock(mutex_);
        EXPECT_EQ(answers_.front(), std::pair(name, expected));
        answers_.clear();
    }
    void await_pushed(std::size_t count) {
        await([&] { return pushed_.size() == count && running_ == 0; });
        // push() has returned or is about to: let its result be remembered.
        std::this_thread::sleep_for(20ms);
    }

    test::TemporaryDirectory directory_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::pair<std::string, bool>> answers_;
    std::vector<std::string> pushed_;
    std::set<std::string> held_;
    std::size_t running_ = 0;
    std::size_t running_max_ = 0;
    bool broken_ = false;
};

TEST_F(Ahead, ListsReadyFilesInTheOrderOfTheArchiver) {
    for (const char* name : {"000000020000000000000001", "000000010000000000000002",
                             "000000010000000000000001", "000000010000000000000001.00000028.backup",
                             "00000002.history", "strange", "000000010000000000000003.partial"})
        make_ready(name);
    std::ofstream(wal_path() + "/archive_status/000000010000000000000000.done") << "";
    EXPECT_THAT(*list_ready_files(wal_path(), 64),
                ElementsAre("00000002.history", "000000010000000000000001",
                            "000000010000000000000001.00000028.backup", "000000010000000000000002",
                            "000000010000000000000003.partial", "000000020000000000000001"));
    EXPECT_THAT(*list_ready_files(wal_path(), 2),
                ElementsAre("00000002.history", "000000010000000000000001"));
    EXPECT_ERROR(ErrorKind::path_open, list_ready_files(directory_ / "nothing", 2));
}

TEST_F(Ahead, EveryReadyFileIsPushedOnceAndAnsweredWhenAsked) {
    for (unsigned i = 0; i < 200; ++i) make_ready(segment(i));
    const auto ahead = start(3);
    for (unsigned i = 0; i < 200; ++i) {
        ask_and_await(*ahead, segment(i), true);
        std::filesystem::remove(mark(segment(i)));
    }
    EXPECT_EQ(std::set(pushed_.begin(), pushed_.end()).size(), 200u);
    EXPECT_EQ(pushed_.size(), 200u);
    EXPECT_LE(running_max_, 3u);
}

TEST_F(Ahead, OtherFilesAreStoredWhileOneHangs) {
    for (unsigned i = 0; i < 5; ++i) make_ready(segment(i));
    held_.insert(segment(0));
    const auto ahead = start(2);
    ahead->ask(segment(0));
    await([&] { return pushed_.size() == 5; });
    EXPECT_TRUE(answers_.empty()) << "answered before it was stored";
    {
        const std::lock_guard lock(mutex_);
        held_.clear();
    }
    changed_.notify_all();
    await([&] { return !answers_.empty(); });
    EXPECT_EQ(answers_.front().first, segment(0));
}

// An acknowledged segment is recycled: what is remembered of a file must not outlive the file.
TEST_F(Ahead, FileThatChangedSinceItWasStoredIsStoredAgain) {
    make_ready(segment(0));
    make_ready(segment(1));
    const auto ahead = start(1);
    ask_and_await(*ahead, segment(0), true);
    await_pushed(2);
    make_ready(segment(1), "other content");
    ask_and_await(*ahead, segment(1), true);
    EXPECT_THAT(pushed_, ElementsAre(segment(0), segment(1), segment(1)));
}

TEST_F(Ahead, FileThatChangesWhileItIsReadIsNotAcknowledged) {
    make_ready(segment(0));
    held_.insert(segment(0));
    const auto ahead = start(1);
    ahead->ask(segment(0));
    await([&] { return pushed_.size() == 1; });
    make_ready(segment(0), "other content");
    {
        const std::lock_guard lock(mutex_);
        held_.clear();
    }
    changed_.notify_all();
    await([&] { return !answers_.empty(); });
    EXPECT_THAT(pushed_, ElementsAre(segment(0), segment(0)));
}

TEST_F(Ahead, FailureIsToldWhenTheFileIsAskedForAndTriedAgain) {
    for (unsigned i = 0; i < 10; ++i) make_ready(segment(i));
    broken_ = true;
    const auto ahead = start(1);
    ask_and_await(*ahead, segment(0), false);
    std::this_thread::sleep_for(100ms);
    {
        // One attempt ahead shows that the repository is away; the other files are left alone.
        const std::lock_guard lock(mutex_);
        EXPECT_LE(pushed_.size(), 2u);
        broken_ = false;
        pushed_.clear();
    }
    ask_and_await(*ahead, segment(0), true);
    await([&] { return pushed_.size() >= 9; });
    ask_and_await(*ahead, segment(1), true);
}

// He may be waiting for another repository, which does not answer.
TEST_F(Ahead, FilesArePushedWhileTheArchiverIsToldNothing) {
    constexpr unsigned kFiles = 200;  // more than are looked at in one go
    for (unsigned i = 0; i < kFiles; ++i) make_ready(segment(i));
    const auto ahead = start(2);
    ask_and_await(*ahead, segment(0), true);
    await_pushed(kFiles);
    make_ready(segment(kFiles));
    await_pushed(kFiles + 1);
}

TEST_F(Ahead, WhatFailedIsMadeUpForWithoutBeingAskedFor) {
    for (unsigned i = 0; i < 10; ++i) make_ready(segment(i));
    broken_ = true;
    const auto ahead = start(1);
    ask_and_await(*ahead, segment(0), false);
    std::this_thread::sleep_for(100ms);
    {
        const std::lock_guard lock(mutex_);
        broken_ = false;
        pushed_.clear();
    }
    await([&] { return std::set<std::string>(pushed_.begin(), pushed_.end()).size() == 10; });
}

// The archiver may ask for what has no mark (a test, a person): it is pushed, not remembered.
TEST_F(Ahead, FileWithoutMarkIsPushedEachTime) {
    std::ofstream(wal_path() + "/" + segment(0)) << "wal";
    const auto ahead = start(1);
    ask_and_await(*ahead, segment(0), true);
    ask_and_await(*ahead, segment(0), true);
    EXPECT_EQ(pushed_.size(), 2u);
}

}  // namespace
}  // namespace chronos::ops::archive
