#include "memory_storage.h"

#include "storage_contract.h"

namespace chronos::test {
namespace {

class MemoryFixture {
public:
    storage::Storage& storage() { return storage_; }

private:
    MemoryStorage storage_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Memory, StorageContract, MemoryFixture);

using storage::WriteMode;
using testing::ElementsAre;

std::vector<std::string> names(storage::Storage& store) {
    std::vector<std::string> result;
    const auto entries = store.list_tree("");
    EXPECT_OK(entries);
    for (const auto& entry : *entries) result.push_back(entry.name);
    return result;
}

TEST(MemoryStorageCrash, KeepsAtomicObjectsAndLosesPlainOnes) {
    MemoryStorage store;
    ASSERT_OK(storage::write_object(store, "atomic", "x"));
    ASSERT_OK(storage::write_object(store, "plain", "x", WriteMode::plain));
    store.crash();
    EXPECT_THAT(names(store), ElementsAre("atomic"));
}

TEST(MemoryStorageCrash, KeepsWhatWasSyncedAndNothingBesides) {
    MemoryStorage store;
    for (const char* name : {"a/x", "a/deep/y", "ab/z"})
        ASSERT_OK(storage::write_object(store, name, "x", WriteMode::plain));
    ASSERT_OK(store.sync_tree("a"));
    store.crash();
    EXPECT_THAT(names(store), ElementsAre("a/deep/y", "a/x"));
}

TEST(MemoryStorageCrash, BringsBackWhatWasRemovedWithoutASync) {
    MemoryStorage store;
    for (const char* name : {"a/x", "b/y"}) ASSERT_OK(storage::write_object(store, name, "x"));
    ASSERT_OK(store.remove("a/x"));
    ASSERT_OK(store.remove("b/y"));
    ASSERT_OK(store.sync_tree("b"));
    store.crash();
    EXPECT_THAT(names(store), ElementsAre("a/x"));
}

TEST(MemoryStorageCrash, ReplacedPlainObjectFallsBackToItsSyncedContent) {
    MemoryStorage store;
    ASSERT_OK(storage::write_object(store, "x", "old", WriteMode::plain));
    ASSERT_OK(store.sync_tree(""));
    ASSERT_OK(storage::write_object(store, "x", "new", WriteMode::plain));
    store.crash();
    const auto content = storage::read_object(store, "x");
    ASSERT_OK(content);
    EXPECT_EQ(*content, "old");
}

TEST(MemoryStorageCrash, ObjectsBeingWrittenAreLost) {
    MemoryStorage store;
    auto atomic = store.create("atomic", WriteMode::atomic);
    auto plain = store.create("plain", WriteMode::plain);
    ASSERT_OK(atomic);
    ASSERT_OK(plain);
    store.crash();
    EXPECT_OK((*atomic)->finish());
    EXPECT_OK((*plain)->finish());
    EXPECT_THAT(names(store), testing::IsEmpty());
}

TEST(MemoryStorageTest, PlainObjectShowsBeforeItIsWhole) {
    MemoryStorage store;
    auto sink = store.create("plain", WriteMode::plain);
    ASSERT_OK(sink);
    ASSERT_OK((*sink)->write(io::bytes("half")));
    const auto content = storage::read_object(store, "plain");
    ASSERT_OK(content);
    EXPECT_EQ(*content, "half");
}

}  // namespace
}  // namespace chronos::test
