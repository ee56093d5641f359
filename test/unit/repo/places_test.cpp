#include "chronos/repo/places.h"
#include "chronos/storage/posix/posix_storage.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "memory_storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::repo {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class PlaceOfRepository : public testing::Test {
protected:
    PlaceOfRepository() {
        for (const char* path : {"pg/pg_tblspc", "space", "repo", "wal"})
            fs::create_directories(root_ / path);
        fs::create_directory_symlink(root_ / "space", root_ / "pg/pg_tblspc/16385");
        fs::create_directory_symlink(root_ / "wal", root_ / "pg/pg_wal");
    }
    Result<> check(const std::string& path) {
        Repository repository;
        repository.storage = storage::make_posix_storage(root_ / path);
        return check_repository_place(repository, cluster_places(root_ / "pg"));
    }
    test::TemporaryDirectory root_;
};

TEST_F(PlaceOfRepository, BesideTheClusterIsGood) {
    for (const char* path : {"repo", "pg2", "pgbackrest", "repo/deep/down"}) EXPECT_OK(check(path));
}

TEST_F(PlaceOfRepository, InOrAroundTheClusterIsRefused) {
    for (const char* path : {"pg", "pg/", "pg/backup", "pg/base/../backup", "space", "space/repo",
                             "pg/pg_tblspc/16385/x", "wal/repo", ".", ""}) {
        SCOPED_TRACE(path);
        EXPECT_ERROR(ErrorKind::option_invalid_value, check(path));
    }
}

TEST_F(PlaceOfRepository, IsSeenThroughLinks) {
    fs::create_directory_symlink(root_ / "pg", root_ / "link");
    EXPECT_ERROR(ErrorKind::option_invalid_value, check("link/backup"));
    fs::create_directory_symlink(root_ / "repo", root_ / "pg/outside");
    // A backup would follow the link into it.
    EXPECT_ERROR(ErrorKind::option_invalid_value, check("repo"));
}

TEST_F(PlaceOfRepository, OfABucketIsNoDirectory) {
    Repository repository;
    repository.storage = std::make_shared<test::MemoryStorage>();
    EXPECT_OK(check_repository_place(repository, cluster_places("/")));
}

}  // namespace
}  // namespace chronos::repo
