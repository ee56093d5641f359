#include "chronos/os/durable.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <filesystem>

#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::os {
namespace {

TEST(Publish, ReplacesAndSaysWhatItCouldNotMove) {
    const test::TemporaryDirectory directory;
    ASSERT_OK(write_whole(directory / "new", "new"));
    ASSERT_OK(write_whole(directory / "name", "old"));
    ASSERT_OK(publish(directory / "new", directory / "name"));
    EXPECT_EQ(read_or_empty(directory / "name", 100), "new");
    EXPECT_ERROR(ErrorKind::file_move, publish(directory / "new", directory / "name"));
    EXPECT_EQ(read_or_empty(directory / "name", 100), "new");
}

TEST(ParentDirectory, IsOneForEveryPath) {
    EXPECT_EQ(parent_directory("/a/b"), "/a");
    EXPECT_EQ(parent_directory("/a"), "/");
    EXPECT_EQ(parent_directory("a"), ".");
}

// proc stands for what is in no table.
TEST(FileSystems, CoverWhatIsInTheTableAndNothingElse) {
    FileSystems file_systems;
    EXPECT_FALSE(file_systems.watch("/proc").value());
    EXPECT_OK(file_systems.sync());
    const test::TemporaryDirectory directory;
    const bool covered = file_systems.watch(directory.path()).value();
    // Another directory of it is the same file system.
    std::filesystem::create_directory(directory / "below");
    EXPECT_EQ(file_systems.watch(directory / "below").value(), covered);
    struct statfs status = {};
    ASSERT_EQ(statfs(directory.path().c_str(), &status), 0);
    constexpr long kOverlay = 0x794c7630, kTmpfs = 0x01021994;
    EXPECT_FALSE(covered && (status.f_type == kOverlay || status.f_type == kTmpfs));
    EXPECT_OK(file_systems.sync());
    EXPECT_ERROR(ErrorKind::path_open, file_systems.watch(directory / "none"));
}

}  // namespace
}  // namespace chronos::os
