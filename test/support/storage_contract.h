#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "chronos/storage/storage.h"
#include "result_matchers.h"

/// What every Storage must do. An implementation takes part with
///     INSTANTIATE_TYPED_TEST_SUITE_P(Posix, StorageContract, PosixFixture);
/// where the fixture is default-constructible, owns an empty storage and hands it out:
/// `storage::Storage& storage()`.
namespace chronos::test {

template <class Fixture>
class StorageContract : public testing::Test {
protected:
    storage::Storage& store() { return fixture_.storage(); }

    void put(const std::string& name, std::string_view content,
             storage::WriteMode mode = storage::WriteMode::atomic) {
        ASSERT_OK(storage::write_object(store(), name, content, mode));
    }
    std::string get(const std::string& name, storage::Range range = {}) {
        auto source = store().open(name, range);
        if (!source) return "open: " + source.error().text();
        auto content = io::read_all(**source);
        return content ? *content : "read: " + content.error().text();
    }
    static std::vector<std::string> names(const Result<std::vector<storage::Entry>>& entries) {
        if (!entries) return {entries.error().text()};
        std::vector<std::string> result;
        for (const auto& entry : *entries) result.push_back(entry.name);
        return result;
    }

private:
    Fixture fixture_;
};

/// Content in which every range differs from every other.
inline std::string numbered_bytes(std::size_t size) {
    std::string result;
    for (std::size_t at = 0; result.size() < size; ++at) result += std::to_string(at) + ' ';
    result.resize(size);
    return result;
}

TYPED_TEST_SUITE_P(StorageContract);

TYPED_TEST_P(StorageContract, ReadsBackWhatWasWritten) {
    for (const auto mode : {storage::WriteMode::atomic, storage::WriteMode::plain}) {
        for (const std::size_t size : {0ul, 1ul, io::kBufferSize - 1, 9ul * 1024 * 1024 + 1}) {
            SCOPED_TRACE(std::to_string(size) + " bytes");
            const std::string content = numbered_bytes(size);
            this->put("a/b/object", content, mode);
            EXPECT_TRUE(this->get("a/b/object") == content);
        }
    }
}

TYPED_TEST_P(StorageContract, WritesArriveInOrderWhateverTheirSizes) {
    auto sink = this->store().create("object", storage::WriteMode::atomic);
    ASSERT_OK(sink);
    std::string content;
    for (const std::size_t size : {1ul, 0ul, 70000ul, 3ul, 8ul * 1024 * 1024}) {
        const std::string part = numbered_bytes(size);
        ASSERT_OK((*sink)->write(io::bytes(part)));
        content += part;
    }
    ASSERT_OK((*sink)->finish());
    EXPECT_TRUE(this->get("object") == content);
}

TYPED_TEST_P(StorageContract, MissingObjectIsNotFound) {
    this->put("a/object", "x");
    EXPECT_ERROR(ErrorKind::not_found, this->store().open("a/other"));
    EXPECT_ERROR(ErrorKind::not_found, this->store().open("a/object/below"));
    EXPECT_ERROR(ErrorKind::not_found, this->store().open("a"));
    const auto info = this->store().info("a/other");
    ASSERT_OK(info);
    EXPECT_FALSE(info->has_value());
    const auto exists = storage::exists(this->store(), "a/object/below");
    ASSERT_OK(exists);
    EXPECT_FALSE(*exists);
}

TYPED_TEST_P(StorageContract, RangeYieldsExactlyItsBytes) {
    const std::string content = numbered_bytes(500000);
    this->put("object", content);
    EXPECT_EQ(this->get("object", {.offset_bytes = 0, .size_bytes = 10}), content.substr(0, 10));
    EXPECT_EQ(this->get("object", {.offset_bytes = 499990, .size_bytes = 10}),
              content.substr(499990));
    EXPECT_TRUE(this->get("object", {.offset_bytes = 1000, .size_bytes = 400000}) ==
                content.substr(1000, 400000));
    EXPECT_TRUE(this->get("object", {.offset_bytes = 7}) == content.substr(7));
    EXPECT_EQ(this->get("object", {.offset_bytes = 3, .size_bytes = 0}), "");
    EXPECT_EQ(this->get("object", {.offset_bytes = 500000}), "");
}

TYPED_TEST_P(StorageContract, RangeThatTheObjectDoesNotCoverIsAnErrorWhenRead) {
    this->put("object", "0123456789");
    for (const storage::Range& range :
         {storage::Range{.offset_bytes = 5, .size_bytes = 6},
          storage::Range{.offset_bytes = 11, .size_bytes = std::nullopt},
          storage::Range{.offset_bytes = 10, .size_bytes = 1}}) {
        SCOPED_TRACE(range.offset_bytes);
        auto source = this->store().open("object", range);
        ASSERT_OK(source);
        EXPECT_ERROR(ErrorKind::file_read, io::read_all(**source));
    }
}

TYPED_TEST_P(StorageContract, AtomicObjectAppearsOnlyWhenFinished) {
    {
        auto sink = this->store().create("a/object", storage::WriteMode::atomic);
        ASSERT_OK(sink);
        ASSERT_OK((*sink)->write(io::bytes("half")));
        EXPECT_THAT(this->names(this->store().list("a")), testing::IsEmpty());
        EXPECT_ERROR(ErrorKind::not_found, this->store().open("a/object"));
    }
    EXPECT_THAT(this->names(this->store().list_tree("")), testing::IsEmpty());
    EXPECT_ERROR(ErrorKind::not_found, this->store().open("a/object"));
}

TYPED_TEST_P(StorageContract, AtomicReplacementIsAllOrNothing) {
    this->put("object", "old content");
    {
        auto abandoned = this->store().create("object", storage::WriteMode::atomic);
        ASSERT_OK(abandoned);
        ASSERT_OK((*abandoned)->write(io::bytes("new")));
        EXPECT_EQ(this->get("object"), "old content");
    }
    EXPECT_EQ(this->get("object"), "old content");
    this->put("object", "new");
    EXPECT_EQ(this->get("object"), "new");
}

TYPED_TEST_P(StorageContract, PlainWriteReplacesLongerContentWhole) {
    this->put("object", "much longer", storage::WriteMode::plain);
    this->put("object", "short", storage::WriteMode::plain);
    EXPECT_EQ(this->get("object"), "short");
}

TYPED_TEST_P(StorageContract, ExclusiveObjectIsTheFirstOnesAlone) {
    constexpr auto kMode = storage::WriteMode::exclusive;
    this->put("a/object", "first", kMode);
    EXPECT_ERROR(ErrorKind::file_exists,
                 storage::write_object(this->store(), "a/object", "second", kMode));
    EXPECT_EQ(this->get("a/object"), "first");
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&, i] {
            const auto written =
                storage::write_object(this->store(), "a/race", std::to_string(i), kMode);
            if (written) ++winners;
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(winners, 1);
    EXPECT_THAT(this->names(this->store().list("a")), testing::ElementsAre("object", "race"))
        << "and nothing else is left";
}

TYPED_TEST_P(StorageContract, InfoTellsTypeSizeAndTime) {
    const UnixTime before = unix_now();
    this->put("a/object", "12345");
    const auto info = this->store().info("a/object");
    ASSERT_OK(info);
    ASSERT_TRUE(info->has_value());
    EXPECT_EQ((*info)->type, storage::EntryType::file);
    EXPECT_EQ((*info)->size, 5u);
    EXPECT_NEAR(static_cast<double>((*info)->modified), static_cast<double>(before), 60);
}

TYPED_TEST_P(StorageContract, ListShowsWhatIsDirectlyInADirectory) {
    this->put("d/b", "1");
    this->put("d/a", "22");
    this->put("d/ab/deep/object", "3");
    this->put("other", "4");
    const auto entries = this->store().list("d");
    ASSERT_OK(entries);
    ASSERT_EQ(this->names(entries), (std::vector<std::string>{"a", "ab", "b"}));
    EXPECT_EQ((*entries)[0].type, storage::EntryType::file);
    EXPECT_EQ((*entries)[0].size, 2u);
    EXPECT_EQ((*entries)[1].type, storage::EntryType::path);
    EXPECT_EQ(this->names(this->store().list("d", "a")), (std::vector<std::string>{"a", "ab"}));
    EXPECT_EQ(this->names(this->store().list("")), (std::vector<std::string>{"d", "other"}));
    EXPECT_THAT(this->names(this->store().list("missing")), testing::IsEmpty());
    EXPECT_THAT(this->names(this->store().list("missing/deeper")), testing::IsEmpty());
}

// '-' and '.' sort before '/': whoever sorts each directory by itself gets this wrong.
TYPED_TEST_P(StorageContract, ListTreeIsSortedByWholeName) {
    for (const char* name : {"t/a/b", "t/a-b", "t/a.c", "t/z/y/x"}) this->put(name, "x");
    EXPECT_EQ(this->names(this->store().list_tree("t")),
              (std::vector<std::string>{"a-b", "a.c", "a/b", "z/y/x"}));
    EXPECT_EQ(this->names(this->store().list_tree("t/z")), (std::vector<std::string>{"y/x"}));
    EXPECT_THAT(this->names(this->store().list_tree("missing")), testing::IsEmpty());
}

TYPED_TEST_P(StorageContract, RemoveSucceedsAlsoWhenTheObjectIsGone) {
    this->put("a/object", "x");
    ASSERT_OK(this->store().remove("a/object"));
    EXPECT_ERROR(ErrorKind::not_found, this->store().open("a/object"));
    EXPECT_OK(this->store().remove("a/object"));
    EXPECT_OK(this->store().remove("never/was/there"));
}

TYPED_TEST_P(StorageContract, RemoveTreeTakesTheDirectoryAndNotItsNeighbours) {
    this->put("a/x", "x");
    this->put("a/deep/y", "x");
    this->put("ab", "stays");
    this->put("a.b/z", "stays");
    ASSERT_OK(this->store().remove_tree("a"));
    EXPECT_EQ(this->names(this->store().list_tree("")), (std::vector<std::string>{"a.b/z", "ab"}));
    EXPECT_EQ(this->names(this->store().list("")), (std::vector<std::string>{"a.b", "ab"}));
    EXPECT_OK(this->store().remove_tree("a"));
    ASSERT_OK(this->store().remove_tree("ab"));
    EXPECT_EQ(this->get("ab"), "stays");
}

TYPED_TEST_P(StorageContract, NamesThatLeadOutOfTheStorageAreRefused) {
    for (const char* name : {"../x", "a/../../x", "/a", "a//b", "a/", ".", "a/./b"}) {
        SCOPED_TRACE(name);
        EXPECT_ERROR(ErrorKind::format, this->store().open(name));
        EXPECT_ERROR(ErrorKind::format, this->store().create(name, storage::WriteMode::plain));
        EXPECT_ERROR(ErrorKind::format, this->store().remove(name));
        EXPECT_ERROR(ErrorKind::format, this->store().remove_tree(name));
    }
    EXPECT_ERROR(ErrorKind::format, this->store().open(""));
    EXPECT_ERROR(ErrorKind::format, this->store().remove(""));
}

TYPED_TEST_P(StorageContract, AnyCharacterMayBeInAName) {
    for (const char* name : {"a b", "a+b", "a%2Fb", "a#b?c=d&e", "q\"uote'", "gr\xc3\xbc\xc3\x9f",
                             "tab\there", "\\back", "*?[x]"}) {
        SCOPED_TRACE(name);
        const std::string object = std::string("odd/") + name;
        this->put(object, name);
        EXPECT_EQ(this->get(object), name);
        EXPECT_EQ(this->names(this->store().list("odd", name)), (std::vector<std::string>{name}));
        ASSERT_OK(this->store().remove(object));
    }
}

TYPED_TEST_P(StorageContract, PathsAndLinksExistWhereTheyAreFeatures) {
    storage::Storage& store = this->store();
    ASSERT_OK(store.make_path("a/empty"));
    ASSERT_OK(store.make_path("a/empty"));
    ASSERT_OK(store.make_link("a/link", "first"));
    ASSERT_OK(store.make_link("a/link", "second"));
    const auto entries = store.list("a");
    ASSERT_OK(entries);
    std::vector<std::string> expected;
    if (store.features().paths) expected.emplace_back("empty");
    if (store.features().links) expected.emplace_back("link");
    ASSERT_EQ(this->names(entries), expected);
    if (store.features().links) {
        EXPECT_EQ(entries->back().type, storage::EntryType::link);
        EXPECT_EQ(entries->back().link_destination, "second");
    }
    EXPECT_THAT(this->names(store.list_tree("a")), testing::IsEmpty());
    ASSERT_OK(store.remove_tree("a"));
    EXPECT_THAT(this->names(store.list("")), testing::IsEmpty());
}

TYPED_TEST_P(StorageContract, SyncTreeSucceedsWithAndWithoutSomethingToSync) {
    this->put("a/deep/object", "x", storage::WriteMode::plain);
    EXPECT_OK(this->store().sync_tree("a"));
    EXPECT_OK(this->store().sync_tree(""));
    EXPECT_OK(this->store().sync_tree("missing"));
}

TYPED_TEST_P(StorageContract, ManyThreadsMayUseItAtOnce) {
    constexpr int kThreads = 4;
    constexpr int kObjects = 25;
    std::atomic<int> failures = 0;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread)
        threads.emplace_back([&, thread] {
            for (int object = 0; object < kObjects; ++object) {
                // The directory is shared, so that its making is contended.
                const std::string name =
                    "d" + std::to_string(object) + "/" + std::to_string(thread);
                if (!storage::write_object(this->store(), name, name, storage::WriteMode::plain) ||
                    this->get(name) != name || !this->store().list("d" + std::to_string(object)))
                    ++failures;
            }
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(failures, 0);
    EXPECT_EQ(this->names(this->store().list_tree("")).size(), std::size_t{kThreads * kObjects});
}

TYPED_TEST_P(StorageContract, DescriptionAndErrorsNameTheObject) {
    EXPECT_THAT(this->store().describe("a/object"), testing::EndsWith("/a/object"));
    const auto missing = this->store().open("a/object");
    ASSERT_FALSE(static_cast<bool>(missing));
    EXPECT_THAT(missing.error().message(), testing::HasSubstr(this->store().describe("a/object")));
    this->put("big", "0123456789");
    const auto big = storage::read_object(this->store(), "big", 9);
    ASSERT_FALSE(static_cast<bool>(big));
    EXPECT_EQ(big.error().kind(), ErrorKind::format);
    EXPECT_THAT(big.error().message(), testing::HasSubstr(this->store().describe("big")));
}

REGISTER_TYPED_TEST_SUITE_P(
    StorageContract, ReadsBackWhatWasWritten, WritesArriveInOrderWhateverTheirSizes,
    MissingObjectIsNotFound, RangeYieldsExactlyItsBytes,
    RangeThatTheObjectDoesNotCoverIsAnErrorWhenRead, AtomicObjectAppearsOnlyWhenFinished,
    AtomicReplacementIsAllOrNothing, PlainWriteReplacesLongerContentWhole,
    ExclusiveObjectIsTheFirstOnesAlone, InfoTellsTypeSizeAndTime,
    ListShowsWhatIsDirectlyInADirectory, ListTreeIsSortedByWholeName,
    RemoveSucceedsAlsoWhenTheObjectIsGone, RemoveTreeTakesTheDirectoryAndNotItsNeighbours,
    NamesThatLeadOutOfTheStorageAreRefused, AnyCharacterMayBeInAName,
    PathsAndLinksExistWhereTheyAreFeatures, SyncTreeSucceedsWithAndWithoutSomethingToSync,
    ManyThreadsMayUseItAtOnce, DescriptionAndErrorsNameTheObject);

}  // namespace chronos::test
