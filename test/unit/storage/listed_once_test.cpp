// Who decides by several looks at a directory asks the storage once, and sees one state of it.
#include "chronos/storage/listed_once.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::storage {
namespace {

class CountedStorage final : public ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;
    Features features() const override {
        Features features = next_.features();
        features.remote = is_remote;
        return features;
    }
    Result<std::unique_ptr<io::Source>> open(const ObjectName& name, Range range) override {
        const bool failing = fails;
        ++opens;
        while (held) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (failing) return Error(ErrorKind::service, "away");
        return next_.open(name, range);
    }
    Result<std::vector<Entry>> list_tree(const ObjectName& directory) override {
        ++lists;
        return next_.list_tree(directory);
    }
    Result<std::vector<Entry>> list(const ObjectName& directory,
                                    const std::string& prefix) override {
        const bool failing = fails;
        ++lists;
        while (held) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (failing) return Error(ErrorKind::path_open, "away");
        return next_.list(directory, prefix);
    }
    std::atomic<int> lists{0}, opens{0};
    std::atomic<bool> fails{false}, held{false}, is_remote{false};
};

class ListedOnceTest : public testing::Test {
protected:
    void put(const std::string& name, const std::string& content = "") {
        auto sink = memory_->create(name, {});
        ASSERT_OK(sink);
        ASSERT_OK((*sink)->write(io::bytes(content)));
        ASSERT_OK((*sink)->finish());
    }
    std::vector<std::string> names(const std::string& directory, const std::string& prefix = "") {
        std::vector<std::string> result;
        const auto listed = once_.list(directory, prefix);
        if (!listed) return {"error"};
        for (const Entry& entry : *listed) result.push_back(entry.name);
        return result;
    }
    std::string content(const std::string& name, Range range = {}) {
        const auto source = once_.open(name, range);
        if (!source) return source.error().kind() == ErrorKind::not_found ? "none" : "error";
        const auto read = io::read_all(**source);
        return read ? *read : "error";
    }
    /// Until nothing is on its way any more that was begun.
    static void wait_for(const std::atomic<int>& count, int wanted) {
        for (int i = 0; i < 5000 && count < wanted; ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT_EQ(count, wanted);
    }
    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    std::shared_ptr<CountedStorage> counted_ = std::make_shared<CountedStorage>(memory_);
    ListedOnce once_{counted_};
};

TEST_F(ListedOnceTest, AsksOnceAndTellsOfPartsOfIt) {
    put("a/one");
    put("a/other");
    put("a/two");
    using Names = std::vector<std::string>;
    EXPECT_EQ(names("a", "o"), (Names{"one", "other"}));
    EXPECT_EQ(names("a"), (Names{"one", "other", "two"}));
    put("a/three");
    EXPECT_EQ(names("a"), (Names{"one", "other", "two"}));
    EXPECT_EQ(names("a", "o"), (Names{"one", "other"}));
    EXPECT_EQ(names("a", "t"), (Names{"two"}));
    EXPECT_EQ(counted_->lists, 2);
    EXPECT_EQ(names("none"), Names{});
    EXPECT_EQ(names("none"), Names{});
    EXPECT_EQ(counted_->lists, 3);
}

TEST_F(ListedOnceTest, AsksAgainAfterAnError) {
    put("a/one");
    counted_->fails = true;
    EXPECT_EQ(names("a"), std::vector<std::string>{"error"});
    counted_->fails = false;
    EXPECT_EQ(names("a"), std::vector<std::string>{"one"});
}

TEST_F(ListedOnceTest, WhoAsksWhileAnAnswerIsOnItsWayWaitsForIt) {
    counted_->is_remote = true;
    put("a/one");
    counted_->held = true;
    once_.ask_ahead([this] { static_cast<void>(once_.list("a", "")); });
    wait_for(counted_->lists, 1);
    std::vector<std::string> all, part;
    std::thread first([&] { all = names("a"); }), second([&] { part = names("a", "o"); });
    counted_->held = false;
    first.join();
    second.join();
    EXPECT_EQ(all, std::vector<std::string>{"one"});
    EXPECT_EQ(part, std::vector<std::string>{"one"});
    EXPECT_EQ(counted_->lists, 1);
    // All below a directory is another question.
    ASSERT_OK(once_.list_tree("a"));
    ASSERT_OK(once_.list_tree("a"));
    EXPECT_EQ(counted_->lists, 2);
}

TEST_F(ListedOnceTest, AnErrorOfWhoAskedAheadIsNobodysAnswer) {
    counted_->is_remote = true;
    put("a/one", "content");
    counted_->fails = true;
    once_.ask_ahead([this] { static_cast<void>(once_.list("a", "")); });
    once_.read_ahead("a/one");
    wait_for(counted_->lists, 1);
    wait_for(counted_->opens, 1);
    counted_->fails = false;
    EXPECT_EQ(names("a"), std::vector<std::string>{"one"});
    EXPECT_EQ(content("a/one"), "content");
    EXPECT_EQ(counted_->opens, 2);
}

TEST_F(ListedOnceTest, FromFarAwaySmallRangesAreReadOnce) {
    put("a", "0123456789");
    EXPECT_EQ(content("a", {2, 3}), "234");
    EXPECT_EQ(content("a", {2, 3}), "234");
    EXPECT_EQ(counted_->opens, 2);
    counted_->is_remote = true;
    EXPECT_EQ(content("a", {2, 3}), "234");
    EXPECT_EQ(content("a", {2, 3}), "234");
    EXPECT_EQ(counted_->opens, 3);
    EXPECT_EQ(content("a", {2, 4}), "2345");
    EXPECT_EQ(content("b", {2, 4}), "none");
    EXPECT_EQ(counted_->opens, 5);
}

TEST_F(ListedOnceTest, WhatIsReadAheadIsThereForWhoOpensIt) {
    counted_->is_remote = true;
    const std::string large(ListedOnce::kRangeMax + 1, 'x');
    put("small", "content");
    put("large", large);
    for (const char* name : {"small", "large", "none", "small"}) once_.read_ahead(name);
    wait_for(counted_->opens, 3);
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(content("small"), "content");
        EXPECT_EQ(content("none"), "none");
    }
    EXPECT_EQ(counted_->opens, 3);
    EXPECT_EQ(content("large"), large);
    EXPECT_EQ(counted_->opens, 3);
    EXPECT_EQ(content("large"), large);
    EXPECT_EQ(counted_->opens, 4);
    EXPECT_EQ(content("small", {0, 3}), "con");
}

TEST_F(ListedOnceTest, WaitsForWhatIsOnItsWayWhenItEnds) {
    counted_->is_remote = true;
    put("a", "content");
    counted_->held = true;
    auto once = std::make_unique<ListedOnce>(counted_);
    once->read_ahead("a");
    wait_for(counted_->opens, 1);
    std::thread later([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        counted_->held = false;
    });
    once = nullptr;
    EXPECT_FALSE(counted_->held);
    later.join();
}

TEST_F(ListedOnceTest, IsNotForWriting) {
    EXPECT_FALSE(once_.create("a/new", {}));
    EXPECT_FALSE(once_.remove("a/one"));
}

}  // namespace
}  // namespace chronos::storage
