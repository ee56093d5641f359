#include "chronos/repo/random_access.h"

#include <gtest/gtest.h>

namespace chronos::repo {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

ManifestFile file(const char* name, std::uint64_t size) {
    ManifestFile result;
    result.name = SharedText(name);
    result.size = size;
    return result;
}

ManifestFile in_blocks(const char* name, std::uint64_t size) {
    ManifestFile result = file(name, size);
    result.block_size = 8192;
    result.block_map_size = 99;
    return result;
}

ManifestFile in_bundle(const char* name, std::uint64_t size) {
    ManifestFile result = file(name, size);
    result.bundle_id = 1;
    return result;
}

TEST(RandomAccess, IsOfBlocksAndOfWhatIsSmall) {
    Manifest manifest;
    manifest.files = {in_blocks("pg_data/base/5/1", 1024 * kMiB), file("pg_data/base/5/2", 0),
                      file("pg_data/base/5/3", 2 * kMiB), in_bundle("pg_data/base/5/4", 8192)};
    RandomAccess access = random_access(manifest);
    EXPECT_EQ(access.in_parts_bytes, 1026 * kMiB + 8192);
    EXPECT_EQ(access.whole_bytes, 0u);
    EXPECT_EQ(access.largest_whole, "");
    EXPECT_EQ(random_access_text(access), "100% (1GB of 1GB)");

    // Whatever it lies in: all of it is fetched for its first byte.
    manifest.files.push_back(file("pg_data/base/5/5", 2 * kMiB + 1));
    manifest.files.push_back(in_bundle("pg_tblspc/7/base/6", 30 * kMiB));
    manifest.files.push_back(file("pg_data/base/5/7", 20 * kMiB));
    access = random_access(manifest);
    EXPECT_EQ(access.in_parts_bytes, 1026 * kMiB + 8192);
    EXPECT_EQ(access.whole_bytes, 52 * kMiB + 1);
    EXPECT_EQ(access.largest_whole, "pg_tblspc/7/base/6");
    EXPECT_EQ(access.largest_whole_bytes, 30 * kMiB);
}

// What is stored whole for once is whole, whatever size its blocks had.
TEST(RandomAccess, GoesByTheMapOfBlocks) {
    Manifest manifest;
    manifest.files = {in_blocks("pg_data/base/5/1", 5 * kMiB)};
    manifest.files.front().block_map_size = 0;
    EXPECT_EQ(random_access(manifest).largest_whole, "base/5/1");
}

TEST(RandomAccess, HundredPercentIsAllOfIt) {
    EXPECT_EQ(RandomAccess{}.percent(), 100u);
    RandomAccess access;
    access.in_parts_bytes = std::uint64_t{1} << 60;
    access.whole_bytes = 1;
    EXPECT_EQ(access.percent(), 99u);
    access.in_parts_bytes = 0;
    EXPECT_EQ(access.percent(), 0u);
    access = {98 * kMiB, 2 * kMiB, "base/5/\x1b[2J", 2 * kMiB};
    EXPECT_EQ(random_access_text(access),
              "98% (98MB of 100MB); largest file fetched whole: base/5/?[2J, 2MB");
}

}  // namespace
}  // namespace chronos::repo
