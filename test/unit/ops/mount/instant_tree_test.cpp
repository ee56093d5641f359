// A data directory is served while parts of it are still in the backup: what is done to names and
// files is done below, a file is known by what it is and not by its name, also by the next process,
// and no server can be started below before all is there.
#include "ops/mount/instant_tree.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "random_bytes.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::mount {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::uint64_t kTreeId = 81;
constexpr std::uint64_t kTreePage = Presence::kPage;

std::set<std::string> names_in(const fs::path& path) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(path))
        names.insert(entry.path().filename().string());
    return names;
}

/// A directory as a restore leaves it, and what is asked of it as the kernel would.
class TriedDirectory {
public:
    test::TemporaryDirectory directory;
    /// Those that are not there yet.
    std::vector<std::pair<std::string, std::string>> lazy{
        {"base/1/1259", random_bytes(3 * kTreePage, 1)},
        {"base/1/2601", random_bytes(2 * kTreePage, 2)},
        {"base/5/1259", random_bytes(kTreePage, 3)}};
    std::size_t fetched = 0;
    std::unique_ptr<PresenceTable> table;
    std::unique_ptr<InstantTree> tree;
    InstantTree::Part part;
    std::string table_path = directory / ".chronos-lazy/presence";

    /// Its first file is behind a link to `elsewhere`.
    explicit TriedDirectory(const test::TemporaryDirectory& elsewhere) : TriedDirectory() {
        tree.reset();
        fs::rename(directory / "base/1", elsewhere / "1");
        fs::create_directory_symlink(elsewhere / "1", directory / "base/1");
        part.links = {"base/1"};
        open();
    }
    TriedDirectory() {
        for (const char* name : {"base", "base/1", "base/5", "global", ".chronos-lazy"})
            fs::create_directory(directory / name);
        put("PG_VERSION", "15\n");
        put("global/pg_control.chronos-lazy", std::string(8192, 'c'));
        std::vector<PresenceTable::File> files;
        for (std::size_t i = 0; i < lazy.size(); ++i) {
            put(lazy[i].first, "");
            fs::resize_file(directory / lazy[i].first, lazy[i].second.size());
            const std::string value = InstantTree::attribute_of(kTreeId, i);
            EXPECT_EQ(::setxattr((directory / lazy[i].first).c_str(), InstantTree::kAttribute,
                                 value.data(), value.size(), 0),
                      0);
            files.push_back({static_cast<std::uint32_t>(i + 10), lazy[i].second.size()});
        }
        table = *PresenceTable::make(table_file(), kTreeId, files);
        open();
    }

    Result<> try_open(InstantTree::Before before = InstantTree::Before::died) {
        tree.reset();
        std::vector<PresenceTable::File> files;
        for (std::size_t i = 0; i < lazy.size(); ++i)
            files.push_back({static_cast<std::uint32_t>(i + 10), lazy[i].second.size()});
        table = CHRONOS_TRY(PresenceTable::open(table_file(), kTreeId, files));
        tree = CHRONOS_TRY(InstantTree::open(
            os::FileDescriptor(::open(directory.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
            directory.path(), kTreeId, *table,
            [this](std::size_t entry, std::uint64_t offset, std::size_t size,
                   const fuse::Interrupted&, std::string& content) {
                ++fetched;
                content = lazy[entry].second.substr(offset, size);
                return 0;
            },
            before, part));
        return {};
    }
    void open() {
        const auto opened = try_open();
        ASSERT_TRUE(opened) << opened.error().text();
    }
    void put(const std::string& name, const std::string& content) {
        const os::FileDescriptor file(
            ::open((directory / name).c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
        ASSERT_OK(os::write_all(file.get(), content, name));
    }
    std::string below(const std::string& name) {
        return os::read_or_empty(directory / name, 1 << 20);
    }

    /// 0 if there is none.
    fuse::NodeId find(const std::string& path) {
        fuse::Attributes found;
        found.node = fuse::kRoot;
        for (std::size_t at = 0; at < path.size();) {
            const std::size_t end = std::min(path.find('/', at), path.size());
            const fuse::NodeId parent = found.node;
            if (tree->lookup(parent, path.substr(at, end - at), found) != 0) return 0;
            tree->forget(found.node, 1);
            at = end + 1;
        }
        return found.node;
    }
    static std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }
    fuse::NodeId parent_of(const std::string& path) {
        const std::size_t slash = path.rfind('/');
        return slash == std::string::npos ? fuse::kRoot : find(path.substr(0, slash));
    }
    std::string content_of(const std::string& path) {
        std::string content;
        EXPECT_EQ(tree->read(find(path), 0, 1 << 20, {}, content), 0) << path;
        return content;
    }
    std::vector<std::string> list(const std::string& path) {
        std::vector<std::string> names;
        EXPECT_EQ(tree->list(find(path), 0,
                             [&](std::string_view name, const fuse::Attributes&, std::uint64_t) {
                                 if (name != "." && name != "..") names.emplace_back(name);
                                 return true;
                             }),
                  0);
        return names;
    }
    int create(const std::string& path, const std::string& content) {
        fuse::Attributes made;
        const fuse::Making making{::geteuid(), ::getegid(), 0640};
        const int error = tree->create(parent_of(path), name_of(path), making, made);
        if (error != 0) return error;
        EXPECT_EQ(tree->write(made.node, 0, content, {}), 0);
        EXPECT_EQ(tree->sync(made.node), 0);
        tree->release(made.node);
        tree->forget(made.node, 1);
        return 0;
    }
    int unlink(const std::string& path) { return tree->unlink(parent_of(path), name_of(path)); }
    int rename(const std::string& from, const std::string& to) {
        return tree->rename(parent_of(from), name_of(from), parent_of(to), name_of(to), false);
    }
    void complete() {
        for (std::size_t entry = 0; entry < lazy.size(); ++entry) {
            const auto file = tree->file_of(entry);
            for (bool all = file == nullptr; !all;)
                ASSERT_EQ(file->complete_some(
                              {0, UINT64_MAX},
                              [&](std::uint64_t offset, std::size_t size, const fuse::Interrupted&,
                                  std::string& content) {
                                  content = lazy[entry].second.substr(offset, size);
                                  return 0;
                              },
                              {}, all),
                          0);
        }
    }

private:
    std::unique_ptr<LowerFile> table_file() {
        return std::make_unique<MachineFile>(
            os::FileDescriptor(::open(table_path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)),
            table_path);
    }
};

TEST(InstantTree, ShowsTheDirectoryAsItWillBe) {
    TriedDirectory tried;
    EXPECT_THAT(tried.list(""), UnorderedElementsAre("PG_VERSION", "base", "global"));
    EXPECT_THAT(tried.list("global"), ElementsAre("pg_control"));
    EXPECT_EQ(tried.content_of("global/pg_control"), std::string(8192, 'c'));
    EXPECT_EQ(tried.content_of("PG_VERSION"), "15\n");
    for (const auto& [name, content] : tried.lazy) EXPECT_EQ(tried.content_of(name), content);
    EXPECT_EQ(tried.find(".chronos-lazy"), 0U);
    EXPECT_EQ(tried.create(".chronos-lazy", "x"), EACCES);
    EXPECT_EQ(tried.create("global/pg_control.chronos-lazy", "x"), EACCES);
    EXPECT_EQ(tried.rename("PG_VERSION", "global/pg_control.chronos-lazy"), EACCES);
}

// Below, that is: in the mount there is one all the time.
TEST(InstantTree, NothingGivesTheDirectoryItsControlFileBeforeItIsWhole) {
    TriedDirectory tried;
    EXPECT_EQ(tried.unlink("global/pg_control"), EBUSY);
    EXPECT_EQ(tried.rename("global/pg_control", "global/other"), EBUSY);
    EXPECT_EQ(tried.rename("PG_VERSION", "global/pg_control"), EBUSY);
    EXPECT_EQ(tried.rename("global", "elsewhere"), EBUSY);
    EXPECT_EQ(tried.create("global/pg_control", "x"), EEXIST);
    ASSERT_EQ(tried.tree->write(tried.find("global/pg_control"), 0, "new", {}), 0);
    ASSERT_EQ(tried.tree->sync(tried.find("global/pg_control")), 0);
    EXPECT_FALSE(fs::exists(tried.directory / "global/pg_control"));
    EXPECT_EQ(tried.below("global/pg_control.chronos-lazy").substr(0, 4), "newc");
    EXPECT_FALSE(*tried.tree->publish());
    EXPECT_FALSE(fs::exists(tried.directory / "global/pg_control"));
}

TEST(InstantTree, EndsAsTheDirectoryItself) {
    TriedDirectory tried;
    std::string written = tried.lazy[0].second;
    written.replace(10, 3, "abc");
    ASSERT_EQ(tried.tree->write(tried.find("base/1/1259"), 10, "abc", {}), 0);
    tried.complete();
    EXPECT_EQ(tried.tree->missing_bytes(), 0U);
    EXPECT_TRUE(*tried.tree->publish());
    EXPECT_EQ(tried.below("base/1/1259"), written);
    EXPECT_EQ(tried.below("base/1/2601"), tried.lazy[1].second);
    EXPECT_EQ(tried.below("global/pg_control"), std::string(8192, 'c'));
    EXPECT_FALSE(fs::exists(tried.directory / "global/pg_control.chronos-lazy"));
    char value[64];
    EXPECT_EQ(::getxattr((tried.directory / "base/1/1259").c_str(), InstantTree::kAttribute, value,
                         sizeof value),
              -1);
    // It goes on being served until nobody needs it.
    EXPECT_EQ(tried.content_of("base/1/1259"), written);
    EXPECT_EQ(tried.unlink("global/pg_control"), 0);
}

// Relation files are made again under old names, and what was one before gets another one.
// A tablespace: past the mount a server finds nothing, whoever has served it and how that ended.
TEST(InstantTree, PastTheMountATablespaceIsEmptyUntilItIsWhole) {
    TriedDirectory tried;
    tried.tree.reset();
    fs::remove_all(tried.directory / "global");
    fs::remove(tried.directory / "PG_VERSION");
    const test::TemporaryDirectory data;
    tried.table_path = data / "presence";
    fs::rename(tried.directory / ".chronos-lazy/presence", tried.table_path);
    fs::remove(tried.directory / ".chronos-lazy");
    fs::create_directory(tried.directory / "lost+found");
    tried.part.kind = InstantTree::Part::Kind::tablespace;
    const std::set<std::string> guarded{"base.chronos-lazy", "lost+found"};
    for (int i = 0; i < 2; ++i) {
        tried.open();
        EXPECT_EQ(names_in(tried.directory.path()), guarded);
        EXPECT_THAT(tried.list(""), UnorderedElementsAre("base", "lost+found"));
        EXPECT_EQ(tried.content_of("base/1/1259"), tried.lazy[0].second);
    }
    EXPECT_FALSE(tried.tree->is_published());
    ASSERT_EQ(tried.create("base/1/9", "new"), 0);
    EXPECT_EQ(tried.below("base.chronos-lazy/1/9"), "new");
    EXPECT_EQ(tried.rename("base", "other"), EBUSY);
    EXPECT_EQ(tried.create("x.chronos-lazy", ""), EACCES);
    EXPECT_EQ(tried.create("base/x.chronos-lazy", ""), 0);
    tried.complete();
    ASSERT_TRUE(*tried.tree->publish());
    EXPECT_EQ(names_in(tried.directory.path()), (std::set<std::string>{"base", "lost+found"}));
    EXPECT_EQ(tried.below("base/1/1259"), tried.lazy[0].second);
    EXPECT_EQ(tried.content_of("base/1/1259"), tried.lazy[0].second);
    // The data directory is not published yet, and then it is.
    tried.open();
    EXPECT_EQ(names_in(tried.directory.path()), guarded);
    ASSERT_TRUE(*tried.tree->publish());
    tried.part.guard = false;
    tried.open();
    EXPECT_TRUE(tried.tree->is_published());
    EXPECT_EQ(tried.below("base/1/1259"), tried.lazy[0].second);
}

TEST(InstantTree, ADroppedTablespaceGoesWithItsGuard) {
    TriedDirectory tried;
    tried.tree.reset();
    for (const auto& entry : fs::directory_iterator(tried.directory.path()))
        if (entry.path().filename() != ".chronos-lazy") fs::remove_all(entry.path());
    fs::rename(tried.directory / ".chronos-lazy", tried.directory / "PG_15");
    // What was there as the table stays open.
    tried.part.kind = InstantTree::Part::Kind::tablespace;
    tried.tree = *InstantTree::open(os::FileDescriptor(::open(tried.directory.path().c_str(),
                                                              O_PATH | O_DIRECTORY | O_CLOEXEC)),
                                    tried.directory.path(), kTreeId, *tried.table, nullptr,
                                    InstantTree::Before::died, tried.part);
    EXPECT_EQ(names_in(tried.directory.path()), std::set<std::string>{"PG_15.chronos-lazy"});
    for (const std::string& name : tried.list("PG_15")) EXPECT_EQ(tried.unlink("PG_15/" + name), 0);
    EXPECT_EQ(tried.tree->remove_directory(fuse::kRoot, "PG_15"), 0);
    EXPECT_THAT(names_in(tried.directory.path()), IsEmpty());
    ASSERT_TRUE(*tried.tree->publish());
}

TEST(InstantTree, WhatIsBehindALinkIsAsIfItWereThere) {
    const test::TemporaryDirectory elsewhere;
    TriedDirectory tried(elsewhere);
    struct stat status = {};
    fuse::Attributes found;
    ASSERT_EQ(tried.tree->attributes(tried.find("base/1"), found), 0);
    EXPECT_TRUE(S_ISDIR(found.mode));
    EXPECT_EQ(tried.content_of("base/1/1259"), tried.lazy[0].second);
    ASSERT_EQ(tried.create("base/1/9", "new"), 0);
    EXPECT_EQ(os::read_or_empty(elsewhere / "1/9", 9), "new");
    ASSERT_EQ(tried.rename("base/1/9", "base/1/10"), 0);
    EXPECT_EQ(tried.tree->sync(tried.find("base/1")), 0);
    fuse::Attributes now;
    ASSERT_EQ(tried.tree->change(tried.find("base/1"), {.mode = 0750}, now), 0);
    ASSERT_EQ(::stat((elsewhere / "1").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0750U);
    EXPECT_EQ(tried.unlink("base/1/10"), 0);
    EXPECT_EQ(tried.tree->remove_directory(tried.find("base"), "1"), ENOTDIR);
    tried.complete();
    ASSERT_TRUE(*tried.tree->publish());
    EXPECT_TRUE(fs::is_symlink(tried.directory / "base/1"));
    EXPECT_EQ(tried.below("base/1/1259"), tried.lazy[0].second);
}

// Each part of a cluster misses only what is its own.
TEST(InstantTree, WhatIsInAnotherPartIsNotMissed) {
    TriedDirectory tried;
    tried.tree.reset();
    fs::remove(tried.directory / "base/5/1259");
    tried.part.entries = {true, true, false};
    EXPECT_OK(tried.try_open(InstantTree::Before::synced));
    tried.part.entries = {true, true, true};
    EXPECT_ERROR(ErrorKind::format, tried.try_open(InstantTree::Before::synced));
}

TEST(InstantTree, AFileIsKnownByWhatItIsAlsoByTheNextProcess) {
    TriedDirectory tried;
    ASSERT_EQ(tried.unlink("base/1/2601"), 0);
    ASSERT_EQ(tried.create("base/1/2601", "a new one"), 0);
    ASSERT_EQ(tried.rename("base/1/1259", "base/5/2000"), 0);
    fuse::Attributes now;
    ASSERT_EQ(tried.tree->link(tried.find("base/5/1259"), tried.find("base/1"), "1259", now), 0);
    EXPECT_EQ(now.links, 2U);
    EXPECT_EQ(tried.fetched, 0U);
    tried.open();
    EXPECT_EQ(tried.content_of("base/1/2601"), "a new one");
    EXPECT_EQ(tried.content_of("base/5/2000"), tried.lazy[0].second);
    EXPECT_EQ(tried.content_of("base/1/1259"), tried.lazy[2].second);
    EXPECT_EQ(tried.find("base/1/1259"), tried.find("base/5/1259"));
    EXPECT_EQ(tried.tree->file_of(1), nullptr);
}

TEST(InstantTree, AFileWithoutANameIsThereForWhoHasItOpen) {
    TriedDirectory tried;
    fuse::Opened how;
    fuse::Attributes found;
    ASSERT_EQ(tried.tree->lookup(tried.find("base/1"), "1259", found), 0);
    ASSERT_EQ(tried.tree->open(found.node, how), 0);
    ASSERT_EQ(tried.unlink("base/1/1259"), 0);
    std::string content;
    EXPECT_EQ(tried.tree->read(found.node, kTreePage, kTreePage, {}, content), 0);
    EXPECT_EQ(content, tried.lazy[0].second.substr(kTreePage, kTreePage));
    EXPECT_TRUE(tried.tree->in_use());
    tried.tree->release(found.node);
    EXPECT_FALSE(tried.tree->in_use());
    EXPECT_EQ(tried.tree->attributes(found.node, found), 0);
    tried.tree->forget(found.node, 1);
    EXPECT_EQ(tried.tree->attributes(found.node, found), ENOENT);
}

// A server may have its socket in its data directory.
TEST(InstantTree, SocketsAndPipesAreMadeBelow) {
    TriedDirectory tried;
    const fuse::Making making{::geteuid(), ::getegid(), 0640};
    fuse::Attributes made;
    struct stat status = {};
    ASSERT_EQ(
        tried.tree->make_special(fuse::kRoot, ".s.PGSQL.5432", fuse::Special::socket, making, made),
        0);
    ASSERT_EQ(::lstat((tried.directory / ".s.PGSQL.5432").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFSOCK | 0640));
    EXPECT_EQ(made.mode, status.st_mode);
    EXPECT_EQ(
        tried.tree->make_special(fuse::kRoot, ".s.PGSQL.5432", fuse::Special::pipe, making, made),
        EEXIST);
    EXPECT_EQ(
        tried.tree->make_special(fuse::kRoot, ".chronos-lazy", fuse::Special::pipe, making, made),
        EACCES);
    fuse::Opened how;
    EXPECT_EQ(tried.tree->open(tried.find(".s.PGSQL.5432"), how), ENXIO);
    tried.open();
    fuse::Attributes found;
    ASSERT_EQ(tried.tree->attributes(tried.find(".s.PGSQL.5432"), found), 0);
    EXPECT_EQ(found.mode, status.st_mode);
    EXPECT_EQ(tried.unlink(".s.PGSQL.5432"), 0);
    EXPECT_NE(::lstat((tried.directory / ".s.PGSQL.5432").c_str(), &status), 0);
}

TEST(InstantTree, RoomIsMadeBelow) {
    TriedDirectory tried;
    const std::string content = tried.lazy[0].second;
    struct stat status = {};
    ASSERT_EQ(tried.tree->allocate(tried.find("base/1/1259"), 0, 6 * kTreePage, false), 0);
    ASSERT_EQ(::lstat((tried.directory / "base/1/1259").c_str(), &status), 0);
    EXPECT_EQ(status.st_size, static_cast<off_t>(6 * kTreePage));
    EXPECT_GE(status.st_blocks, static_cast<blkcnt_t>(6 * kTreePage / 512));
    EXPECT_EQ(tried.content_of("base/1/1259"), content + std::string(3 * kTreePage, '\0'));
}

TEST(InstantTree, ACopyOfAFileThatIsNotWholeIsRefused) {
    TriedDirectory tried;
    const std::string value = InstantTree::attribute_of(kTreeId, 0);
    tried.put("base/1/copy", "");
    ASSERT_EQ(::setxattr((tried.directory / "base/1/copy").c_str(), InstantTree::kAttribute,
                         value.data(), value.size(), 0),
              0);
    EXPECT_ERROR(ErrorKind::format, tried.try_open());
    // Of another restore it says nothing.
    const std::string other = InstantTree::attribute_of(kTreeId + 1, 0);
    ASSERT_EQ(::setxattr((tried.directory / "base/1/copy").c_str(), InstantTree::kAttribute,
                         other.data(), other.size(), 0),
              0);
    EXPECT_OK(tried.try_open());
}

// Files without their marks would be files of zeros. Later the server may have removed one.
TEST(InstantTree, AtTheBeginningAllMarksAreThere) {
    TriedDirectory tried;
    EXPECT_OK(tried.try_open(InstantTree::Before::synced));
    ASSERT_EQ(::removexattr((tried.directory / "base/1/2601").c_str(), InstantTree::kAttribute), 0);
    EXPECT_ERROR(ErrorKind::format, tried.try_open(InstantTree::Before::synced));
    EXPECT_OK(tried.try_open(InstantTree::Before::died));
}

TEST(InstantTree, ModesTimesAndLinksAreThoseBelow) {
    TriedDirectory tried;
    fuse::Attributes now;
    const fuse::Making making{::geteuid(), ::getegid(), 0750};
    ASSERT_EQ(tried.tree->make_directory(tried.find("base"), "6", making, now), 0);
    ASSERT_EQ(tried.create("base/6/1", "x"), 0);
    ASSERT_EQ(tried.tree->make_symlink(fuse::kRoot, "link", "/else where", making, now), 0);
    ASSERT_EQ(tried.tree->change(tried.find("base/6/1"), {.mode = 0400, .modified = 12345}, now),
              0);
    struct stat status = {};
    ASSERT_EQ(::stat((tried.directory / "base/6/1").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0400U);
    EXPECT_EQ(status.st_mtim.tv_sec, 12345);
    ASSERT_EQ(::stat((tried.directory / "base/6").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0750U);
    EXPECT_EQ(fs::read_symlink(tried.directory / "link"), "/else where");
    tried.open();
    std::string target;
    EXPECT_EQ(tried.tree->read_symlink(tried.find("link"), target), 0);
    EXPECT_EQ(target, "/else where");
    ASSERT_EQ(tried.tree->attributes(tried.find("base/6/1"), now), 0);
    EXPECT_EQ(now.mode, S_IFREG | 0400U);
    EXPECT_EQ(now.modified, 12345);
    EXPECT_EQ(tried.tree->remove_directory(tried.find("base"), "6"), ENOTEMPTY);
    ASSERT_EQ(tried.unlink("base/6/1"), 0);
    ASSERT_EQ(tried.tree->remove_directory(tried.find("base"), "6"), 0);
    EXPECT_FALSE(fs::exists(tried.directory / "base/6"));
}

/// Does the same things to the tree and to a map of names, with a new process now and then.
class TreeModel {
public:
    explicit TreeModel(std::uint64_t seed) : random_(seed) {
        for (const auto& [name, content] : tried_.lazy) files_[name] = content;
    }
    void step() {
        const std::string path = some_name(), other = some_name();
        const auto found = files_.find(path);
        const bool is_there = found != files_.end();
        switch (number(10)) {
            case 0:
            case 1: {
                const std::string content = random_bytes(number(3 * kTreePage), random_());
                ASSERT_EQ(tried_.create(path, content), is_there ? EEXIST : 0);
                if (!is_there) files_[path] = content;
                break;
            }
            case 2:
                ASSERT_EQ(tried_.unlink(path), is_there ? 0 : ENOENT);
                files_.erase(path);
                break;
            case 3:
                ASSERT_EQ(tried_.rename(path, other), is_there ? 0 : ENOENT);
                if (is_there && path != other) {
                    files_[other] = found->second;
                    files_.erase(path);
                }
                break;
            case 4:
            case 5:
                if (is_there) write(path, found->second);
                break;
            case 6:
                if (is_there) resize(path, found->second);
                break;
            case 7: read(path); break;
            case 8: ASSERT_OK(tried_.tree->note_all()); break;
            default: restart();
        }
    }
    void check() {
        restart();
        for (const auto& [path, content] : files_)
            ASSERT_TRUE(tried_.content_of(path) == content) << path;
        ASSERT_EQ(tried_.list("base/1").size() + tried_.list("base/5").size(), files_.size());
        tried_.complete();
        ASSERT_TRUE(*tried_.tree->publish());
        tried_.tree.reset();
        for (const auto& [path, content] : files_)
            ASSERT_TRUE(tried_.below(path) == content) << path;
    }

private:
    std::uint64_t number(std::uint64_t below) { return below == 0 ? 0 : random_() % below; }
    std::string some_name() {
        static constexpr const char* kNames[] = {"base/1/1259", "base/1/2601", "base/5/1259",
                                                 "base/5/1", "base/1/2"};
        return kNames[number(5)];
    }
    void write(const std::string& path, std::string& content) {
        const std::uint64_t offset = number(content.size() + kTreePage);
        const std::string written = random_bytes(number(2 * kTreePage), random_());
        ASSERT_EQ(tried_.tree->write(tried_.find(path), offset, written, {}), 0);
        if (written.empty()) return;
        content.resize(std::max<std::size_t>(content.size(), offset + written.size()));
        content.replace(offset, written.size(), written);
    }
    void read(const std::string& path) {
        const auto found = files_.find(path);
        if (found == files_.end()) return;
        ASSERT_TRUE(tried_.content_of(path) == found->second) << path;
    }
    void resize(const std::string& path, std::string& content) {
        const std::uint64_t size = number(content.size() + kTreePage);
        fuse::Attributes now;
        ASSERT_EQ(tried_.tree->change(tried_.find(path), {.size = size}, now), 0);
        content.resize(size);
    }
    /// What is synced is there for the next process.
    void restart() {
        for (const auto& [path, content] : files_)
            ASSERT_EQ(tried_.tree->sync(tried_.find(path)), 0);
        tried_.open();
    }

    std::mt19937_64 random_;
    TriedDirectory tried_;
    std::map<std::string, std::string> files_;
};

TEST(InstantTree, IsADirectoryWhateverIsDoneInWhichOrder) {
    for (std::uint64_t round = 0; round < 10 && !HasFailure(); ++round) {
        SCOPED_TRACE("seed " + std::to_string(test_seed()) + ", round " + std::to_string(round));
        TreeModel model(test_seed() + round);
        for (int i = 0; i < 40 && !HasFailure(); ++i) model.step();
        if (!HasFailure()) model.check();
    }
}

}  // namespace
}  // namespace chronos::ops::mount
