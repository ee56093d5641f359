#include "cli/archive_get_status.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "temporary_directory.h"

namespace chronos::cli {
namespace {

/// Where commands are run from; back where it came from in the end.
class InDirectory {
public:
    explicit InDirectory(const std::string& path) : former_(std::filesystem::current_path()) {
        std::filesystem::current_path(path);
    }
    ~InDirectory() { std::filesystem::current_path(former_); }

private:
    std::filesystem::path former_;
};

int status_of(const char* command, int status) {
    std::string text = command;
    std::string program = "chronos";
    std::vector<char*> arguments{program.data(), text.data()};
    return archive_get_status(arguments, status);
}

// From 1 to 125 PostgreSQL ends recovery and promotes.
TEST(ArchiveGetStatus, InADataDirectoryOnlyMissingIsLeftOfTheLowOnes) {
    const test::TemporaryDirectory data;
    std::filesystem::create_directory(data / "global");
    std::ofstream(data / "global/pg_control") << "";
    const InDirectory here(data.path());
    EXPECT_EQ(status_of("archive-get", 0), 0);
    EXPECT_EQ(status_of("archive-get", 1), 1);
    for (int status = 2; status <= 125; ++status)
        EXPECT_GT(status_of("archive-get", status), 125) << status;
    EXPECT_EQ(status_of("archive-get", 63), 143) << "a shutdown is no failure of recovery";
    EXPECT_EQ(status_of("archive-get", 103), 200);
}

TEST(ArchiveGetStatus, ElsewhereWrongUsageKeepsItsCodeAndFailuresDoNot) {
    const test::TemporaryDirectory elsewhere;
    const InDirectory here(elsewhere.path());
    for (const int usage : {29, 31, 32, 37, 43, 96})
        EXPECT_EQ(status_of("archive-get", usage), usage);
    for (const int failure : {25, 26, 41, 42, 44, 45, 55, 95, 101, 103, 122})
        EXPECT_EQ(status_of("archive-get", failure), 200);
}

TEST(ArchiveGetStatus, OtherCommandsAreNotTouched) {
    for (const int status : {0, 1, 43, 55, 63, 103})
        EXPECT_EQ(status_of("archive-push", status), status);
}

}  // namespace
}  // namespace chronos::cli
