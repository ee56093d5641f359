// Who decides by several looks at a directory asks the storage once, and sees one state of it.
#include "chronos/storage/listed_once.h"

#include <gtest/gtest.h>

#include <memory>

#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::storage {
namespace {

class CountedStorage final : public ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;
    Result<std::vector<Entry>> list(const ObjectName& directory,
                                    const std::string& prefix) override {
        ++lists;
        if (fails) return Error(ErrorKind::path_open, "away");
        return next_.list(directory, prefix);
    }
    int lists = 0;
    bool fails = false;
};

class ListedOnceTest : public testing::Test {
protected:
    void put(const std::string& name) {
        auto sink = memory_->create(name, {});
        ASSERT_OK(sink);
        ASSERT_OK((*sink)->finish());
    }
    std::vector<std::string> names(const std::string& directory, const std::string& prefix = "") {
        std::vector<std::string> result;
        const auto listed = once_.list(directory, prefix);
        if (!listed) return {"error"};
        for (const Entry& entry : *listed) result.push_back(entry.name);
        return result;
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

TEST_F(ListedOnceTest, IsNotForWriting) {
    EXPECT_FALSE(once_.create("a/new", {}));
    EXPECT_FALSE(once_.remove("a/one"));
}

}  // namespace
}  // namespace chronos::storage
