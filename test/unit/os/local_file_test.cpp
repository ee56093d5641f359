#include "chronos/os/local_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::os {
namespace {

struct stat status_of(const std::string& path) {
    struct stat status = {};
    EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
    return status;
}

class WithUmask : public testing::TestWithParam<mode_t> {
protected:
    WithUmask() : former_(umask(GetParam())) {}
    ~WithUmask() override { umask(former_); }
    mode_t former_;
};

TEST_P(WithUmask, LocalFilesHaveTheModesThatAreAskedFor) {
    const test::TemporaryDirectory directory;
    ASSERT_OK(make_local_path(directory / "a/b", 0750));
    for (const char* path : {"a", "a/b"})
        EXPECT_EQ(status_of(directory / path).st_mode & 07777, 0750u);
    EXPECT_TRUE(open_local_file(directory / "a/b/c", O_WRONLY).valid());
    EXPECT_EQ(status_of(directory / "a/b/c").st_mode & 07777, 0640u);
    // What is there already stays as somebody wanted it.
    chmod((directory / "a/b/c").c_str(), 0600);
    EXPECT_TRUE(open_local_file(directory / "a/b/c", O_RDWR).valid());
    EXPECT_EQ(status_of(directory / "a/b/c").st_mode & 07777, 0600u);
}

INSTANTIATE_TEST_SUITE_P(Masks, WithUmask, testing::Values(0, 022, 077));

// A restore as root, for a server that is not: first there is no data directory, then there is. Who
// is not root keeps what he makes.
TEST(LocalFiles, AreGivenToTheOwnerOfTheDataDirectory) {
    const bool root = geteuid() == 0;
    const uid_t owner = root ? 12345 : geteuid();
    const test::TemporaryDirectory directory;
    const std::string data = directory / "data";
    give_local_files_to_owner_of(data);
    ASSERT_OK(make_local_path(directory / "lock"));
    EXPECT_TRUE(open_local_file(directory / "lock/a", O_WRONLY).valid());
    EXPECT_EQ(status_of(directory / "lock/a").st_uid, geteuid());
    mkdir(data.c_str(), 0700);
    ASSERT_EQ(chown(data.c_str(), owner, root ? 54321 : getegid()), 0);
    give_local_files_to_owner_of(data);
    for (const char* path : {"lock", "lock/a"}) {
        EXPECT_EQ(status_of(directory / path).st_uid, owner) << path;
        EXPECT_EQ(status_of(directory / path).st_gid, status_of(data).st_gid) << path;
    }
    EXPECT_TRUE(open_local_file(directory / "lock/b", O_WRONLY).valid());
    EXPECT_EQ(status_of(directory / "lock/b").st_uid, owner);
}

}  // namespace
}  // namespace chronos::os
