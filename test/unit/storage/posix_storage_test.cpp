#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "chronos/storage/posix/posix_storage.h"
#include "chronos/storage/readable.h"
#include "chronos/storage/storage.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::storage {
namespace {

using test::TemporaryDirectory;

class PosixStorageTest : public testing::Test {
protected:
    mode_t mode_of(const std::string& name) {
        struct stat stat {};
        EXPECT_EQ(::stat((directory_ / name).c_str(), &stat), 0) << name;
        return stat.st_mode & 07777;
    }
    std::vector<std::string> files_on_disk() {
        std::vector<std::string> result;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_.path()))
            if (!entry.is_directory()) result.push_back(entry.path().filename());
        return result;
    }
    TemporaryDirectory directory_;
    std::unique_ptr<Storage> storage_ = make_posix_storage(directory_.path());
};

/// Sets the umask of the process for the life of the object.
class ScopedUmask {
public:
    explicit ScopedUmask(mode_t mask) : before_(::umask(mask)) {}
    ~ScopedUmask() { ::umask(before_); }

private:
    mode_t before_;
};

TEST_F(PosixStorageTest, UmaskDoesNotNarrowTheModes) {
    const ScopedUmask umask(0077);
    ASSERT_OK(write_object(*storage_, "a/b/atomic", "x"));
    ASSERT_OK(write_object(*storage_, "a/b/plain", "x", WriteMode::plain));
    EXPECT_EQ(mode_of("a"), mode_t{0750});
    EXPECT_EQ(mode_of("a/b"), mode_t{0750});
    EXPECT_EQ(mode_of("a/b/atomic"), mode_t{0640});
    EXPECT_EQ(mode_of("a/b/plain"), mode_t{0640});
}

TEST_F(PosixStorageTest, APlainFileIsSyncedThroughTheDescriptorItWasWrittenWith) {
    const auto open_count = [] {
        const std::filesystem::directory_iterator all("/proc/self/fd");
        return std::distance(begin(all), end(all));
    };
    ASSERT_OK(write_object(*storage_, "a/atomic", "x"));
    const auto before = open_count();
    ASSERT_OK(write_object(*storage_, "a/1", "x", WriteMode::plain));
    // None on a file system whose files are synced one by one when they are finished.
    const auto kept = open_count() - before;
    EXPECT_LE(kept, 1);
    ASSERT_OK(write_object(*storage_, "a/b/2", "x", WriteMode::plain));
    EXPECT_EQ(open_count(), before + 2 * kept);
    ASSERT_OK(write_object(*storage_, "a/1", "y", WriteMode::plain));
    EXPECT_EQ(open_count(), before + 2 * kept) << "written once more";
    ASSERT_OK(storage_->sync_tree("a"));
    EXPECT_EQ(open_count(), before);
    ASSERT_OK(write_object(*storage_, "a/3", "x", WriteMode::plain));
    ASSERT_OK(storage_->remove("a/3"));
    EXPECT_EQ(open_count(), before) << "the space of what was removed is wanted back";
    std::ofstream(directory_ / "a/foreign") << "left by another process";
    ASSERT_OK(write_object(*storage_, "a/4", "x", WriteMode::plain));
    ASSERT_OK(storage_->sync_tree("a"));
    EXPECT_EQ(open_count(), before);
}

TEST_F(PosixStorageTest, UmaskAppliesIfItIsNotNeutral) {
    const ScopedUmask umask(0077);
    const auto storage = make_posix_storage(directory_.path(), {.neutral_umask = false});
    ASSERT_OK(write_object(*storage, "a/file", "x"));
    EXPECT_EQ(mode_of("a"), mode_t{0700});
    EXPECT_EQ(mode_of("a/file"), mode_t{0600});
}

// Where a repository is mounted there is nothing while it is not: what is written then would be
// acknowledged, and gone when it is back.
TEST_F(PosixStorageTest, RootThatWasThereIsNotMadeAgain) {
    const std::string root = directory_ / "root";
    const auto storage = make_posix_storage(root);
    EXPECT_ERROR(ErrorKind::path_missing, write_object(*storage, "a/first", "x"));
    ASSERT_OK(storage->make_path(""));  // a new repository is made, by name
    ASSERT_OK(write_object(*storage, "a/first", "x"));
    std::filesystem::rename(root, root + ".away");
    for (const WriteMode mode : {WriteMode::atomic, WriteMode::plain})
        EXPECT_ERROR(ErrorKind::path_missing, write_object(*storage, "a/second", "x", mode));
    EXPECT_FALSE(storage->make_path("b"));
    EXPECT_FALSE(storage->make_link("c", "d"));
    EXPECT_FALSE(std::filesystem::exists(root));
    std::filesystem::rename(root + ".away", root);
    EXPECT_OK(write_object(*storage, "a/second", "x"));
}

TEST_F(PosixStorageTest, AtomicWriteUsesTheTemporaryNameThatReadersIgnore) {
    auto sink = storage_->create("d/object", WriteMode::atomic);
    ASSERT_OK(sink);
    EXPECT_THAT(files_on_disk(), testing::ElementsAre("object.pgbackrest.tmp"));
    ASSERT_OK((*sink)->finish());
    EXPECT_THAT(files_on_disk(), testing::ElementsAre("object"));
}

TEST_F(PosixStorageTest, LeftOverTemporaryFileIsOverwrittenWhole) {
    std::ofstream(directory_ / "object.pgbackrest.tmp") << "a left-over that is longer";
    ASSERT_OK(write_object(*storage_, "object", "new"));
    const auto content = read_object(*storage_, "object");
    ASSERT_OK(content);
    EXPECT_EQ(*content, "new");
    EXPECT_EQ(mode_of("object"), mode_t{0640});
}

TEST_F(PosixStorageTest, TemporaryFilesAreNotListed) {
    std::ofstream(directory_ / "x.pgbackrest.tmp") << "half";
    const auto direct = storage_->list("");
    ASSERT_OK(direct);
    EXPECT_TRUE(direct->empty());
    const auto tree = storage_->list_tree("");
    ASSERT_OK(tree);
    EXPECT_TRUE(tree->empty());
}

// Otherwise both would fill one file, and the first to finish would publish a mixture.
TEST_F(PosixStorageTest, SecondWriterOfAnObjectIsToldToTryAgain) {
    auto first = storage_->create("object", WriteMode::atomic);
    ASSERT_OK(first);
    ASSERT_OK((*first)->write(io::bytes("first")));
    const auto other = make_posix_storage(directory_.path());
    const auto second = other->create("object", WriteMode::atomic);
    ASSERT_FALSE(static_cast<bool>(second));
    EXPECT_EQ(second.error().kind(), ErrorKind::lock_acquire);
    EXPECT_TRUE(second.error().transient());
    ASSERT_OK((*first)->finish());
    EXPECT_OK(write_object(*other, "object", "second"));
}

/// Limits the size of files for the life of the object: the nearest thing to a full disk that a
/// test can make without a file system of its own.
class ScopedFileSizeLimit {
public:
    explicit ScopedFileSizeLimit(rlim_t size) {
        signal_before_ = std::signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{size, before_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~ScopedFileSizeLimit() {
        setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, signal_before_);
    }

private:
    void (*signal_before_)(int) = nullptr;
    rlimit before_{};
};

TEST_F(PosixStorageTest, FailedWriteNamesThePathAndLeavesNoFile) {
    for (const auto mode : {WriteMode::atomic, WriteMode::plain}) {
        const ScopedFileSizeLimit limit(1000);
        const auto written = write_object(*storage_, "d/object", std::string(2000, 'x'), mode);
        ASSERT_FALSE(static_cast<bool>(written));
        EXPECT_EQ(written.error().kind(), ErrorKind::file_write);
        EXPECT_THAT(written.error().message(), testing::HasSubstr(directory_ / "d/object"));
        EXPECT_THAT(files_on_disk(), testing::IsEmpty());
    }
}

TEST_F(PosixStorageTest, UnreadableDirectoryIsAnErrorNotAnEmptyList) {
    ASSERT_OK(storage_->make_path("locked"));
    ::chmod((directory_ / "locked").c_str(), 0);
    const ::uid_t user = ::geteuid();
    if (user == 0) {  // root may read everything
        ASSERT_EQ(::seteuid(65534), 0);
    }
    const auto listed = storage_->list("locked");
    if (user == 0) {
        ASSERT_EQ(::seteuid(0), 0);
    }
    EXPECT_ERROR(ErrorKind::path_open, listed);
    ::chmod((directory_ / "locked").c_str(), 0700);
}

TEST_F(PosixStorageTest, WhatMayNotBeOpenedIsKnownWithoutOpeningIt) {
    ASSERT_OK(write_object(*storage_, "d/open", "x"));
    ASSERT_OK(write_object(*storage_, "d/shut", "x"));
    ::chmod(directory_.path().c_str(), 0755);
    ::chmod((directory_ / "d").c_str(), 0755);
    ::chmod((directory_ / "d/open").c_str(), 0444);
    ::chmod((directory_ / "d/shut").c_str(), 0);
    const ::uid_t user = ::geteuid();
    if (user == 0) {  // root may read everything
        ASSERT_EQ(::seteuid(65534), 0);
    }
    const bool open = may_read(*storage_, "d/open"), shut = may_read(*storage_, "d/shut");
    if (user == 0) {
        ASSERT_EQ(::seteuid(0), 0);
    }
    EXPECT_TRUE(open);
    EXPECT_FALSE(shut);
    EXPECT_TRUE(may_read(*storage_, "d/none")) << "that it is missing is found out elsewhere";
}

// Whoever reads takes it for damage.
TEST_F(PosixStorageTest, SocketIsMalformed) {
    ASSERT_OK(storage_->make_path("d"));
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s", (directory_ / "d/s").c_str());
    ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
    EXPECT_ERROR(ErrorKind::format, storage_->open("d/s", {}));
}

TEST_F(PosixStorageTest, PathThatIsAFileCannotBecomeADirectory) {
    ASSERT_OK(write_object(*storage_, "file", "x"));
    EXPECT_ERROR(ErrorKind::path_create, storage_->make_path("file"));
    EXPECT_FALSE(static_cast<bool>(storage_->create("file/below", WriteMode::atomic)));
}

TEST_F(PosixStorageTest, NamedPipeIsAnErrorAndDoesNotWaitForAWriter) {
    ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
    EXPECT_ERROR(ErrorKind::format, storage_->open("pipe"));
    const auto entries = storage_->list("");
    ASSERT_OK(entries);
    ASSERT_EQ(entries->size(), 1u);
    EXPECT_EQ(entries->front().type, EntryType::special);
}

TEST_F(PosixStorageTest, RemoveTreeDoesNotFollowLinks) {
    const TemporaryDirectory outside;
    std::ofstream(outside / "precious") << "x";
    ASSERT_OK(storage_->make_link("tree/link", outside.path()));
    ASSERT_OK(write_object(*storage_, "tree/deep/file", "x"));
    ASSERT_OK(storage_->remove_tree("tree"));
    EXPECT_TRUE(std::filesystem::exists(outside / "precious"));
    EXPECT_FALSE(std::filesystem::exists(directory_ / "tree"));
}

TEST_F(PosixStorageTest, TrailingSlashOfTheRootDoesNotShowInPaths) {
    EXPECT_EQ(make_posix_storage("/a/b/")->describe("c"), "/a/b/c");
    EXPECT_EQ(make_posix_storage("/a/b/")->describe(""), "/a/b");
    EXPECT_EQ(make_posix_storage("/")->describe("c"), "/c");
    EXPECT_EQ(make_posix_storage("/")->describe(""), "/");
}

}  // namespace
}  // namespace chronos::storage
