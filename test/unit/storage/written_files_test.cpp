#include "storage/posix/written_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::storage {
namespace {

namespace fs = std::filesystem;

class WrittenFilesTest : public testing::Test {
protected:
    std::string path(const std::string& name) const { return directory_ / name; }
    os::FileDescriptor make(const std::string& name) {
        fs::create_directories(fs::path(path(name)).parent_path());
        return os::FileDescriptor(::open(path(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
    void write(const std::string& name) { files_.add(path(name), make(name)); }
    /// Synced, and not left to syncfs().
    void expect_synced(bool synced, const std::string& name = "backup") {
        const Result<bool> result = files_.sync_below(path(name));
        ASSERT_OK(result);
        EXPECT_EQ(*result, synced);
    }

    test::TemporaryDirectory directory_;
    WrittenFiles files_;
};

TEST_F(WrittenFilesTest, AFewAreSyncedOneByOne) {
    write("backup/bundle/1");
    write("backup/pg_data/base/5/1");
    files_.add(path("backup/backup.manifest.copy"), make("backup/backup.manifest.copy"));
    make("backup/pg_data/half.pgbackrest.tmp");
    expect_synced(true);
}

TEST_F(WrittenFilesTest, WhatAnotherProcessWroteIsNotTakenForSynced) {
    write("backup/bundle/1");
    make("backup/bundle/2");
    expect_synced(false);
    files_.clear();
    expect_synced(false);
}

TEST_F(WrittenFilesTest, OtherDirectoriesAreNoneOfItsBusiness) {
    make("backup2/1");
    write("backup/1");
    expect_synced(true);
    expect_synced(false, "backup2");
}

TEST_F(WrittenFilesTest, TooManyAreLeftToTheFileSystem) {
    for (std::size_t i = 0; i < WrittenFiles::kCountMax; ++i) write("backup/" + std::to_string(i));
    expect_synced(true);
    for (std::size_t i = 0; i <= WrittenFiles::kCountMax; ++i) write("backup/" + std::to_string(i));
    expect_synced(false);
    files_.clear();
    write("next/1");
    expect_synced(true, "next");
}

TEST_F(WrittenFilesTest, KeepsFewFilesOpen) {
    const auto open_count = [] {
        return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
    };
    const auto before = open_count();
    for (std::size_t i = 0; i < WrittenFiles::kCountMax * 3; ++i)
        write("backup/" + std::to_string(i));
    EXPECT_EQ(open_count(), before);
}

TEST_F(WrittenFilesTest, WhatIsRemovedIsForgotten) {
    write("backup/bundle/1");
    write("backup/bundle/2");
    write("backup/3");
    files_.forget(path("backup/bundle"));
    fs::remove_all(path("backup/bundle"));
    expect_synced(true);
}

TEST_F(WrittenFilesTest, AFailureIsSaidAndStays) {
    write("backup/1");
    // Of all descriptors a pipe is one that cannot be synced.
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const os::FileDescriptor reader(ends[0]);
    make("backup/2");
    files_.add(path("backup/2"), os::FileDescriptor(ends[1]));
    EXPECT_ERROR(ErrorKind::file_sync, files_.sync_below(path("backup")));
    EXPECT_ERROR(ErrorKind::file_sync, files_.sync_below(path("backup")));
}

}  // namespace
}  // namespace chronos::storage
