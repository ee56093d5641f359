// Which files a restore may leave in the backup, and that the directory says so to whoever serves
// it, also after the machine was started anew.
#include "chronos/ops/mount/instant.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <filesystem>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/os/durable.h"
#include "chronos/os/file.h"
#include "ops/mount/instant_state.h"
#include "ops/mount/instant_tree.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::mount {
namespace {

using testing::ElementsAre;

repo::ManifestFile stored(const std::string& name, std::uint64_t size, std::uint64_t bundle = 0) {
    repo::ManifestFile file;
    file.name = name;
    file.size = size;
    file.repo_size = size / 3;
    file.bundle_id = bundle;
    return file;
}

repo::Manifest sample() {
    repo::Manifest manifest;
    manifest.label = "20261120-081500F";
    constexpr std::uint64_t kMiB = 1 << 20;
    manifest.files = {stored("pg_data/PG_VERSION", 3, 1),
                      stored("pg_data/base/1/1259", 8 * kMiB),
                      stored("pg_data/base/5/16400", 500 * kMiB),
                      stored("pg_data/base/5/16401", 8192, 1),
                      stored("pg_data/base/5/16402", 0),
                      stored("pg_data/base/5/PG_VERSION", 3, 1),
                      stored("pg_data/global/pg_control", 8192, 1),
                      stored("pg_data/pg_wal/000000010000000000000001", 16 * kMiB),
                      stored("pg_tblspc/16384/PG_15_202209061/5/16403", 100 * kMiB)};
    return manifest;
}

std::vector<std::string> left(const repo::Manifest& manifest, const InstantLayout& layout) {
    std::vector<std::string> names;
    for (const repo::ManifestFile& file : manifest.files)
        if (layout.leaves(file)) names.push_back(file.name.str());
    return names;
}

TEST(InstantLayout, LeavesLargeRelationsOfTheDataDirectory) {
    const repo::Manifest manifest = sample();
    const InstantLayout layout({1, "main", manifest.label}, manifest);
    EXPECT_THAT(left(manifest, layout), ElementsAre("pg_data/base/1/1259", "pg_data/base/5/16400"));
    EXPECT_EQ(layout.left_bytes(), std::uint64_t{508} << 20);
}

TEST(InstantLayout, OfWhatLiesInBundlesSoMuchIsRestoredAtOnce) {
    repo::Manifest manifest = sample();
    for (int i = 0; i < 300; ++i)
        manifest.files.push_back(stored("pg_data/base/5/2" + std::to_string(1000 + i), 1 << 20, 2));
    const InstantLayout layout({1, "main", manifest.label}, manifest);
    // A third of each is stored: 64 MiB are that of 192.
    EXPECT_NEAR(static_cast<double>(left(manifest, layout).size()), 2 + 300 - 192, 2);
}

TEST(InstantLayout, TheDirectorySaysWhereTheRestIs) {
    const repo::Manifest manifest = sample();
    const test::TemporaryDirectory directory;
    EXPECT_ERROR(ErrorKind::path_missing, instant_origin(directory.path()));
    const InstantLayout layout({3, "a stanza", manifest.label}, manifest);
    ASSERT_OK(os::write_whole(directory / "16400", ""));
    ASSERT_OK(layout.mark(manifest.files[2], directory / "16400", /*sync=*/true));
    char value[64] = {};
    ASSERT_GT(
        ::getxattr((directory / "16400").c_str(), InstantTree::kAttribute, value, sizeof value - 1),
        0);
    EXPECT_THAT(value, testing::MatchesRegex("[0-9]+:1"));
    ASSERT_OK(layout.note(directory.path(), "a = 'b c'"));
    const auto origin = instant_origin(directory.path());
    ASSERT_OK(origin);
    EXPECT_EQ(origin->repo_key, 3U);
    EXPECT_EQ(origin->stanza, "a stanza");
    EXPECT_EQ(origin->label, manifest.label);
    struct stat status = {};
    ASSERT_EQ(::stat((directory / ".chronos-lazy").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0700U);
    // One for itself, one for the first file and 34 for the second one's 500 MiB.
    EXPECT_EQ(std::filesystem::file_size(directory / ".chronos-lazy/presence"), 36U * 512);
    const std::string path = directory / ".chronos-lazy/backup";
    const std::string text = *os::read_small(path, 4096);
    ASSERT_OK(os::write_whole(path, text.substr(0, text.size() - 3)));
    EXPECT_ERROR(ErrorKind::format, instant_origin(directory.path()));
    ASSERT_OK(os::write_whole(path, "version 2" + text.substr(9)));
    EXPECT_ERROR(ErrorKind::format, instant_origin(directory.path()));
}

// A hole of the size and the time of the backup would be taken for its file by who looks no
// further.
TEST(InstantLayout, WhatIsLeftHasNotTheTimeOfTheBackup) {
    const repo::Manifest manifest = sample();
    const test::TemporaryDirectory directory;
    const InstantLayout layout({3, "main", manifest.label}, manifest);
    const std::string path = directory / "16400";
    ASSERT_OK(os::write_whole(path, ""));
    const timespec long_ago[2] = {{.tv_sec = 1000, .tv_nsec = 0}, {.tv_sec = 1000, .tv_nsec = 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), long_ago, 0), 0);
    ASSERT_OK(layout.mark(manifest.files[2], path, /*sync=*/false));
    struct stat status = {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_GT(status.st_mtime, 1000000);
}

class InstantDirectory : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(::mkdir((path() + "/global").c_str(), 0700), 0);
        ASSERT_EQ(instant_stage(path()), InstantStage::none);
        const repo::Manifest manifest = sample();
        const InstantLayout layout({3, "main", manifest.label}, manifest);
        ASSERT_OK(layout.note(path(), "a = 'b'"));
        ASSERT_EQ(instant_stage(path()), InstantStage::unfinished);
        ASSERT_OK(os::write_whole(path() + "/global/pg_control.chronos-lazy", ""));
        ASSERT_EQ(instant_stage(path()), InstantStage::missing);
    }
    std::string path() const { return directory_.path(); }
    void publish() const {
        ASSERT_OK(os::rename_file(path() + "/global/pg_control.chronos-lazy",
                                  path() + "/global/pg_control"));
    }

    const test::TemporaryDirectory directory_;
};

TEST_F(InstantDirectory, WholeOneTakesBackWhatItHadForNowWhereverThatWasInterrupted) {
    publish();
    EXPECT_EQ(instant_stage(path()), InstantStage::whole);
    const std::string conf = path() + "/postgresql.auto.conf";
    ASSERT_OK(os::write_whole(conf, "# a = 'b'\na = 'c'\n a = 'b'\nlast = '1'", 0640));
    // Somebody has died while he did it.
    std::filesystem::remove(path() + "/.chronos-lazy/presence");
    ASSERT_OK(os::write_whole(conf + ".tmp", "half"));
    {
        const auto lock = lock_instant(path(), /*anew=*/true);
        ASSERT_OK(lock);
        EXPECT_ERROR(ErrorKind::lock_acquire, lock_instant(path()));
    }
    ASSERT_OK(settle_whole(path()));
    EXPECT_EQ(*os::read_small(conf, 4096), "# a = 'b'\na = 'c'\nlast = '1'");
    struct stat status = {};
    ASSERT_EQ(::stat(conf.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0640U);
    EXPECT_FALSE(std::filesystem::exists(path() + "/.chronos-lazy"));
    EXPECT_EQ(instant_stage(path()), InstantStage::none);
}

TEST_F(InstantDirectory, GivenUpOneKeepsServersAway) {
    unsigned opened = 0;
    const AbandonRequest request{
        .path = path(), .open = [&](const InstantOrigin& origin) -> Result<repo::Repository> {
            ++opened;
            EXPECT_EQ(origin.repo_key, 3U);
            return Error(ErrorKind::file_open, "there is none");
        }};
    EXPECT_ERROR(ErrorKind::path_not_empty, check_restorable(path()));
    ASSERT_OK(abandon_instant(request));
    EXPECT_EQ(opened, 1U);
    EXPECT_EQ(instant_stage(path()), InstantStage::given_up);
    EXPECT_FALSE(std::filesystem::exists(path() + "/.chronos-lazy"));
    EXPECT_TRUE(std::filesystem::exists(path() + "/global/pg_control.chronos-lazy"));
    ASSERT_OK(check_restorable(path()));
    ASSERT_OK(abandon_instant(request));
    EXPECT_EQ(opened, 1U);
    EXPECT_ERROR(ErrorKind::path_missing, finish_served(path(), Cancellation(), {}));
}

// What has come of a tablespace is found by a restore with --delta.
TEST_F(InstantDirectory, GivenUpOneHasItsTablespacesUnderTheirNames) {
    const test::TemporaryDirectory tablespace;
    std::filesystem::create_directories(tablespace / "PG_15_202209061.chronos-lazy/5");
    const std::string note = path() + "/.chronos-lazy/backup";
    ASSERT_OK(os::write_whole(note, *os::read_small(note, 4096) + "tablespace pg_tblspc/16384 " +
                                        tablespace.path() + "\n"));
    EXPECT_THAT(instant_tablespaces(path()), ElementsAre(tablespace.path()));
    const AbandonRequest request{.path = path(),
                                 .open = [](const InstantOrigin&) -> Result<repo::Repository> {
                                     return Error(ErrorKind::file_open, "there is none");
                                 }};
    ASSERT_OK(abandon_instant(request));
    EXPECT_TRUE(std::filesystem::exists(tablespace / "PG_15_202209061/5"));
    EXPECT_FALSE(std::filesystem::exists(tablespace / "PG_15_202209061.chronos-lazy"));
}

TEST_F(InstantDirectory, WholeOneIsNotGivenUp) {
    publish();
    EXPECT_ERROR(ErrorKind::path_not_empty, abandon_instant({.path = path(), .open = {}}));
    const auto finished = finish_served(path(), Cancellation(), {});
    ASSERT_OK(finished);
    EXPECT_EQ(*finished, Finished::ended);
    EXPECT_ERROR(ErrorKind::path_missing, abandon_instant({.path = path(), .open = {}}));
    EXPECT_TRUE(std::filesystem::exists(path() + "/global/pg_control"));
}

TEST(CheckInstant, RefusesAFileSystemWithoutAttributesBeforeAnythingIsMade) {
    const auto refused = check_instant("/proc/self/not/there/yet");
    EXPECT_ERROR(ErrorKind::feature_not_supported, refused);
    EXPECT_THAT(refused.error().message(), testing::HasSubstr("has no attributes for users"));
}

}  // namespace
}  // namespace chronos::ops::mount
