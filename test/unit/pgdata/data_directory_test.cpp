#include "chronos/pgdata/data_directory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "temporary_directory.h"

namespace chronos::pgdata {
namespace {

namespace fs = std::filesystem;

class DataDirectoryAround : public testing::Test {
protected:
    DataDirectoryAround() {
        fs::create_directories(data_ + "/global");
        fs::create_directories(data_ + "/base/5");
        std::ofstream(data_ + "/PG_VERSION") << "15\n";
        std::ofstream(data_ + "/global/pg_control") << "x";
        real_ = fs::canonical(data_).string();
    }

    test::TemporaryDirectory directory_;
    std::string data_ = directory_ / "data";
    std::string real_;
};

TEST_F(DataDirectoryAround, IsFoundFromItAndFromAllThatIsInIt) {
    for (const char* path : {"", "/", "/base/5", "/PG_VERSION", "/base/../global"})
        EXPECT_EQ(data_directory_around(data_ + path), real_) << path;
}

TEST_F(DataDirectoryAround, IsFoundFromWhatDoesNotExistYet) {
    EXPECT_EQ(data_directory_around(data_ + "/new/deeper"), real_);
    EXPECT_EQ(data_directory_around(directory_ / "new/../data/new"), real_);
}

TEST_F(DataDirectoryAround, IsFoundThroughLinks) {
    fs::create_directory_symlink(data_ + "/base", directory_ / "link");
    EXPECT_EQ(data_directory_around(directory_ / "link/5"), real_);
    EXPECT_EQ(data_directory_around(directory_ / "link/new"), real_);
}

TEST_F(DataDirectoryAround, IsNoneBesideItAndAboveIt) {
    EXPECT_EQ(data_directory_around(directory_ / "data2"), "");
    EXPECT_EQ(data_directory_around(directory_ / ""), "");
    EXPECT_EQ(data_directory_around(data_ + "/../scratch"), "");
    EXPECT_EQ(data_directory_around("/"), "");
    EXPECT_EQ(data_directory_around(""), "");
    // A link in the data directory leads out of it: what is there, is elsewhere.
    fs::create_directories(directory_ / "wal");
    fs::create_directory_symlink(directory_ / "wal", data_ + "/pg_wal");
    EXPECT_EQ(data_directory_around(data_ + "/pg_wal"), "");
}

TEST_F(DataDirectoryAround, TakesBothFiles) {
    fs::remove(data_ + "/global/pg_control");
    EXPECT_EQ(data_directory_around(data_ + "/base"), "");
}

}  // namespace
}  // namespace chronos::pgdata
