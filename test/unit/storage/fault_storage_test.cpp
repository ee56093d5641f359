#include "fault_storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::test {
namespace {

class FaultStorageTest : public testing::Test {
protected:
    MemoryStorage memory_;
    FaultStorage store_{memory_};
};

TEST_F(FaultStorageTest, OnlyTheCallsThatTheRuleNamesFail) {
    ASSERT_OK(storage::write_object(memory_, "a/info", "x"));
    store_.add({.operation = Operation::open, .pattern = "a/*", .first_call = 2, .calls = 2});
    EXPECT_OK(store_.open("a/info", {}));
    EXPECT_ERROR(ErrorKind::service, store_.open("a/info", {}));
    EXPECT_ERROR(ErrorKind::service, store_.open("a/info", {}));
    EXPECT_OK(store_.open("a/info", {}));
    EXPECT_ERROR(ErrorKind::not_found, store_.open("b/info", {}));
    EXPECT_OK(store_.info("a/info"));
}

TEST_F(FaultStorageTest, LastingFaultNeverGoesAway) {
    store_.add({.operation = Operation::list,
                .calls = Fault::kEver,
                .error = Error(ErrorKind::access, "denied")});
    for (int call = 0; call < 5; ++call) EXPECT_ERROR(ErrorKind::access, store_.list("x", ""));
}

TEST_F(FaultStorageTest, FaultWhileWritingLeavesNoObject) {
    for (const Operation operation : {Operation::write, Operation::finish}) {
        store_.add({.operation = operation});
        EXPECT_ERROR(ErrorKind::service, storage::write_object(store_, "object", "x"));
        EXPECT_ERROR(ErrorKind::not_found, memory_.open("object", {}));
    }
    EXPECT_OK(storage::write_object(store_, "object", "x"));
}

TEST_F(FaultStorageTest, ShortReadEndsTheObjectEarlyWithoutAnError) {
    ASSERT_OK(storage::write_object(memory_, "object", std::string(1000000, 'x')));
    store_.add({.operation = Operation::read, .first_call = 2, .short_read = true});
    const auto content = storage::read_object(store_, "object");
    ASSERT_OK(content);
    EXPECT_EQ(content->size(), io::kBufferSize);
}

TEST_F(FaultStorageTest, ChangesAreNotedInTheirOrder) {
    ASSERT_OK(storage::write_object(store_, "a", "x", storage::WriteMode::plain));
    ASSERT_OK(store_.sync_tree(""));
    ASSERT_OK(store_.info("a"));
    store_.add({.operation = Operation::remove});
    EXPECT_ERROR(ErrorKind::service, store_.remove("a"));
    ASSERT_OK(store_.remove("a"));
    EXPECT_THAT(store_.changes(),
                testing::ElementsAre("create a", "finish a", "sync_tree ", "remove a"));
}

}  // namespace
}  // namespace chronos::test
