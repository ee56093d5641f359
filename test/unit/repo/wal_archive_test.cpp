#include "chronos/repo/wal_archive.h"

#include <gtest/gtest.h>

#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

const std::string kSegment = "0000000100000000000000AB";
const std::string kSum = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

TEST(ArchivedName, IsWhatWritersOfTheFormatWriteAndNothingElse) {
    for (const char* extension : {"", ".gz", ".lz4", ".zst", ".bz2"})
        EXPECT_TRUE(is_archived_segment(kSegment + "-" + kSum + extension)) << extension;
    const std::string upper = "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709";
    for (const std::string& name :
         {kSegment, kSegment + "-", kSegment + "-" + upper, kSegment + "-" + kSum.substr(1),
          kSegment + "-" + kSum + ".", kSegment + "-" + kSum + ".pgbackrest.tmp",
          kSegment + "-" + kSum + ".zst.tmp", kSegment + "-" + kSum + ".xz",
          kSegment + "-" + kSum + "0", std::string("0000000100000000000000ab-") + kSum,
          kSegment + ".00000028.backup", std::string("00000002.history"), std::string()})
        EXPECT_FALSE(parse_archived_name(name)) << name;
}

TEST(ArchivedName, ThatOfAPartialSegmentIsNoneOfASegment) {
    const std::string name = kSegment + ".partial-" + kSum + ".gz";
    EXPECT_FALSE(is_archived_segment(name));
    const auto parsed = parse_archived_name(name);
    ASSERT_TRUE(parsed);
    EXPECT_TRUE(parsed->partial);
    EXPECT_EQ(parsed->segment, kSegment);
    EXPECT_EQ(parsed->checksum, kSum);
    EXPECT_EQ(parsed->compression, compress::CompressType::gz);
}

TEST(ArchivedName, WhatIsNoneIsNotFoundAsASegment) {
    Repository repository;
    repository.storage = std::make_shared<test::MemoryStorage>();
    const std::string object =
        archived_segment_object("main", "15-1", kSegment, kSum, compress::CompressType::none);
    ASSERT_OK(storage::write_object(*repository.storage, object + ".pgbackrest.tmp", "x"));
    const auto none = find_archived_segment(repository, "main", "15-1", kSegment);
    ASSERT_OK(none);
    EXPECT_FALSE(*none);
    ASSERT_OK(storage::write_object(*repository.storage, object, "x"));
    const auto found = find_archived_segment(repository, "main", "15-1", kSegment);
    ASSERT_OK(found);
    ASSERT_TRUE(*found);
    EXPECT_EQ((*found)->object, object);
}

}  // namespace
}  // namespace chronos::repo
