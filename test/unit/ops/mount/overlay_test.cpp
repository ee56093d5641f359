// The files of a backup as a tree that may be changed: names lead where a file system of this
// machine would lead, whatever is made, linked, renamed and removed in which order, and content
// belongs to the file and not to its name.
#include "ops/mount/overlay.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "random_bytes.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::mount {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

/// A cluster of some files and a tablespace, and what is asked of it as the kernel would.
class Tried {
public:
    std::map<std::string, std::string> backup{
        {"pg_data/PG_VERSION", "15\n"},
        {"pg_data/base/1/1259", random_bytes(3 * 8192)},
        {"pg_data/base/1/PG_VERSION", "15\n"},
        {"pg_data/global/pg_control", random_bytes(8192, 5)},
        {"pg_data/tablespace_map", "16384 /srv/fast\n"},
        {"pg_tblspc/16384/PG_15_202209061/5/16390", random_bytes(8192, 7)}};
    repo::Manifest manifest;
    test::TemporaryDirectory scratch;
    std::unique_ptr<Overlay> tree;
    std::size_t fetched = 0;

    Tried() {
        manifest.timestamp_stop = 1'700'000'000;
        for (const char* name : {"pg_data", "pg_data/base", "pg_data/base/1", "pg_data/global",
                                 "pg_data/pg_tblspc", "pg_data/pg_wal", "pg_tblspc",
                                 "pg_tblspc/16384", "pg_tblspc/16384/PG_15_202209061"}) {
            repo::ManifestPath path;
            path.name = name;
            path.mode = 0750;
            manifest.paths.push_back(path);
        }
        for (const auto& [name, content] : backup) {
            repo::ManifestFile file;
            file.name = name;
            file.size = content.size();
            file.timestamp = 1'600'000'000;
            manifest.files.push_back(std::move(file));
        }
        tree = std::make_unique<Overlay>(
            manifest,
            [this](const repo::ManifestFile& file, std::uint64_t offset, std::size_t size,
                   const fuse::Interrupted&, std::string& content) {
                ++fetched;
                content = backup.at(file.name.str()).substr(offset, size);
                return 0;
            },
            "/look", scratch.path());
    }

    /// 0 if there is none.
    fuse::NodeId find(const std::string& path) {
        fuse::Attributes found;
        found.node = fuse::kRoot;
        for (std::size_t at = 0; at < path.size();) {
            const std::size_t end = std::min(path.find('/', at), path.size());
            const fuse::NodeId directory = found.node;
            if (tree->lookup(directory, path.substr(at, end - at), found) != 0) return 0;
            tree->forget(found.node, 1);
            at = end + 1;
        }
        return found.node;
    }
    std::string content(fuse::NodeId node) {
        std::string result;
        EXPECT_EQ(tree->read(node, 0, SIZE_MAX / 2, {}, result), 0);
        return result;
    }
    std::string content(const std::string& path) { return content(find(path)); }
    std::vector<std::string> names(fuse::NodeId directory) {
        std::vector<std::string> result;
        // One at a time, as a listing that is read in pieces.
        for (std::uint64_t place = 2, before = 0; place != before;) {
            before = place;
            bool taken = false;
            EXPECT_EQ(
                tree->list(directory, place,
                           [&](std::string_view name, const fuse::Attributes&, std::uint64_t next) {
                               if (taken) return false;
                               result.emplace_back(name);
                               place = next;
                               return taken = true;
                           }),
                0);
        }
        return result;
    }
    std::vector<std::string> names(const std::string& path) { return names(find(path)); }
    fuse::Attributes attributes(const std::string& path) {
        fuse::Attributes result;
        EXPECT_EQ(tree->attributes(find(path), result), 0) << path;
        return result;
    }
    std::size_t sparse_files() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(scratch.path()), {}));
    }
};

constexpr fuse::Making kMaking{1, 2, 0640};

TEST(Overlay, IsTheDataDirectoryWithItsTablespacesBesideIt) {
    Tried it;
    EXPECT_THAT(it.names(fuse::kRoot), ElementsAre("data", "tablespaces"));
    EXPECT_THAT(it.names("data"),
                UnorderedElementsAre("PG_VERSION", "base", "global", "pg_tblspc", "pg_wal"));
    EXPECT_THAT(it.names("data/pg_tblspc"), ElementsAre("16384"));
    std::string target;
    ASSERT_EQ(it.tree->read_symlink(it.find("data/pg_tblspc/16384"), target), 0);
    EXPECT_EQ(target, "/look/tablespaces/16384");
    EXPECT_EQ(it.content("tablespaces/16384/PG_15_202209061/5/16390"),
              it.backup["pg_tblspc/16384/PG_15_202209061/5/16390"]);
    EXPECT_EQ(it.content("data/base/1/1259"), it.backup["pg_data/base/1/1259"]);
    const fuse::Attributes file = it.attributes("data/global/pg_control");
    EXPECT_EQ(file.mode, mode_t{S_IFREG | 0600});
    EXPECT_EQ(file.size, 8192U);
    EXPECT_EQ(file.modified, 1'600'000'000);
    EXPECT_EQ(it.attributes("data/base/1").mode, mode_t{S_IFDIR | 0750});
}

// A relation file that is made again under its old name, as by TRUNCATE after a wraparound of oids,
// or the one that backup_label is renamed to.
TEST(Overlay, ContentBelongsToTheFileAndNotToItsName) {
    Tried it;
    const fuse::NodeId base = it.find("data/base/1");
    ASSERT_EQ(it.tree->rename(base, "1259", base, "1260", false), 0);
    fuse::Attributes made;
    ASSERT_EQ(it.tree->create(base, "1259", kMaking, made), 0);
    ASSERT_EQ(it.tree->change(made.node, {.size = 8192}, made), 0);
    EXPECT_EQ(made.size, 8192U);
    EXPECT_EQ(made.user, 1U);
    EXPECT_EQ(made.mode, mode_t{S_IFREG | 0640});
    EXPECT_EQ(it.content(made.node), std::string(8192, '\0'));
    EXPECT_EQ(it.fetched, 0U);
    EXPECT_EQ(it.content("data/base/1/1260"), it.backup["pg_data/base/1/1259"]);
}

TEST(Overlay, WhatIsOpenStaysWithoutAName) {
    Tried it;
    const fuse::NodeId base = it.find("data/base/1"), file = it.find("data/base/1/1259");
    fuse::Attributes known;
    ASSERT_EQ(it.tree->lookup(base, "1259", known), 0);
    fuse::Opened how;
    ASSERT_EQ(it.tree->open(file, how), 0);
    ASSERT_EQ(it.tree->write(file, 0, "written", {}), 0);
    EXPECT_EQ(it.sparse_files(), 1U);
    ASSERT_EQ(it.tree->unlink(base, "1259"), 0);
    EXPECT_EQ(it.find("data/base/1/1259"), 0U);
    std::string expected = it.backup["pg_data/base/1/1259"];
    expected.replace(0, 7, "written");
    EXPECT_EQ(it.content(file), expected);
    fuse::Attributes now;
    EXPECT_EQ(it.tree->link(file, base, "again", now), ENOENT);
    it.tree->release(file);
    EXPECT_EQ(it.sparse_files(), 0U);
    it.tree->forget(file, 1);
    EXPECT_EQ(it.tree->attributes(file, now), ENOENT);
}

// PostgreSQL up to 15 gives a WAL segment its name by a second link.
TEST(Overlay, AFileMayHaveTwoNames) {
    Tried it;
    const fuse::NodeId wal = it.find("data/pg_wal");
    fuse::Attributes made;
    ASSERT_EQ(it.tree->create(wal, "xlogtemp.1", kMaking, made), 0);
    ASSERT_EQ(it.tree->write(made.node, 0, "segment", {}), 0);
    it.tree->release(made.node);
    ASSERT_EQ(it.tree->link(made.node, wal, "000000010000000000000001", made), 0);
    EXPECT_EQ(made.links, 2U);
    fuse::Attributes again;
    EXPECT_EQ(it.tree->link(made.node, wal, "xlogtemp.1", again), EEXIST);
    ASSERT_EQ(it.tree->unlink(wal, "xlogtemp.1"), 0);
    EXPECT_EQ(it.content("data/pg_wal/000000010000000000000001"), "segment");
    EXPECT_EQ(it.tree->link(it.find("data/base"), wal, "directory", made), EPERM);
}

TEST(Overlay, RefusesWhatAFileSystemRefuses) {
    Tried it;
    const fuse::NodeId data = it.find("data"), base = it.find("data/base");
    fuse::Attributes made;
    EXPECT_EQ(it.tree->create(data, "PG_VERSION", kMaking, made), EEXIST);
    EXPECT_EQ(it.tree->create(it.find("data/PG_VERSION"), "x", kMaking, made), ENOTDIR);
    EXPECT_EQ(it.tree->make_directory(data, "base", kMaking, made), EEXIST);
    EXPECT_EQ(it.tree->unlink(data, "base"), EISDIR);
    EXPECT_EQ(it.tree->remove_directory(data, "PG_VERSION"), ENOTDIR);
    EXPECT_EQ(it.tree->remove_directory(data, "base"), ENOTEMPTY);
    EXPECT_EQ(it.tree->unlink(data, "none"), ENOENT);
    EXPECT_EQ(it.tree->rename(data, "base", it.find("data/base/1"), "x", false), EINVAL);
    EXPECT_EQ(it.tree->rename(data, "base", data, "global", false), ENOTEMPTY);
    EXPECT_EQ(it.tree->rename(data, "base", data, "PG_VERSION", false), ENOTDIR);
    EXPECT_EQ(it.tree->rename(data, "PG_VERSION", data, "base", false), EISDIR);
    EXPECT_EQ(it.tree->rename(base, "1", data, "global", true), EEXIST);
    EXPECT_EQ(it.tree->rename(data, "none", data, "x", false), ENOENT);
    fuse::Opened how;
    EXPECT_EQ(it.tree->open(base, how), EISDIR);
    EXPECT_EQ(it.tree->change(base, {.size = 0}, made), EISDIR);
    EXPECT_EQ(it.tree->write(base, 0, "x", {}), EISDIR);

    ASSERT_EQ(it.tree->make_directory(data, "new", kMaking, made), 0);
    ASSERT_EQ(it.tree->remove_directory(data, "new"), 0);
    fuse::Attributes in;
    EXPECT_EQ(it.tree->create(made.node, "in", kMaking, in), ENOENT);
    EXPECT_EQ(it.tree->rename(base, "1", made.node, "in", false), ENOENT);
    it.tree->forget(made.node, 1);
    EXPECT_EQ(it.tree->attributes(made.node, made), ENOENT);
}

// What is removed while somebody lists does not make him miss or repeat the rest.
TEST(Overlay, TakesWhatWasFetchedForLater) {
    Tried it;
    const repo::ManifestFile* file = nullptr;
    for (const repo::ManifestFile& one : it.manifest.files)
        if (one.name.view() == "pg_data/base/1/1259") file = &one;
    const std::string& content = it.backup["pg_data/base/1/1259"];
    EXPECT_TRUE(it.tree->keep(*file, {{0, content}}));
    EXPECT_EQ(it.content("data/base/1/1259"), content);
    EXPECT_EQ(it.fetched, 0U);
    // Nobody can ask for it any more.
    ASSERT_EQ(it.tree->unlink(it.find("data/base/1"), "1259"), 0);
    EXPECT_TRUE(it.tree->keep(*file, {{0, content}}));
    EXPECT_EQ(it.sparse_files(), 0U);
}

// The kernel has told the program already that it was written.
TEST(Overlay, ReadsNothingAnyMoreOnceSomethingWrittenIsLost) {
    Tried it;
    fuse::Attributes made;
    ASSERT_EQ(it.tree->create(it.find("data"), "new", kMaking, made), 0);
    ASSERT_EQ(it.tree->write(made.node, 0, "text", {}), 0);
    EXPECT_EQ(it.content(made.node), "text");
    EXPECT_OK(it.tree->check());
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{10, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    EXPECT_EQ(it.tree->write(made.node, 4, std::string(100, 'b'), {}), EFBIG);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);
    std::string content;
    EXPECT_EQ(it.tree->read(made.node, 0, 4, {}, content), EIO);
    EXPECT_EQ(it.tree->read(it.find("data/PG_VERSION"), 0, 3, {}, content), EIO);
    EXPECT_EQ(it.tree->write(it.find("data/PG_VERSION"), 0, "16\n", {}), EIO);
    EXPECT_ERROR(ErrorKind::file_write, it.tree->check());
}

TEST(Overlay, AListingGoesOnWhereItWas) {
    Tried it;
    const fuse::NodeId wal = it.find("data/pg_wal");
    fuse::Attributes made;
    for (const char* name : {"a", "b", "c", "d"})
        ASSERT_EQ(it.tree->create(wal, name, kMaking, made), 0);
    std::uint64_t place = 0;
    std::vector<std::string> seen;
    const auto some = [&](std::size_t count) {
        return it.tree->list(
            wal, place, [&](std::string_view name, const fuse::Attributes&, std::uint64_t next) {
                if (count == 0) return false;
                --count;
                seen.emplace_back(name);
                place = next;
                return true;
            });
    };
    ASSERT_EQ(some(4), 0);
    ASSERT_EQ(it.tree->unlink(wal, "a"), 0);
    ASSERT_EQ(it.tree->unlink(wal, "c"), 0);
    ASSERT_EQ(some(9), 0);
    EXPECT_THAT(seen, ElementsAre(".", "..", "a", "b", "d"));
}

// Names, second names and handles of files, beside a map of names to arrays of bytes.
TEST(Overlay, NamesAndHandlesLeadToTheSameBytesWhateverIsDone) {
    struct File {
        std::string bytes;
        fuse::NodeId node = 0;
    };
    using Pointer = std::shared_ptr<File>;
    for (std::uint64_t round = 0; round < 20 && !testing::Test::HasFailure(); ++round) {
        SCOPED_TRACE("seed " + std::to_string(test_seed()) + ", round " + std::to_string(round));
        std::mt19937_64 random(test_seed() + round);
        Tried it;
        const fuse::NodeId directory = it.find("data/base/1");
        std::map<std::string, Pointer> names;
        for (const std::string& name : it.names(directory))
            names[name] = std::make_shared<File>(
                File{it.backup["pg_data/base/1/" + name], it.find("data/base/1/" + name)});
        std::vector<Pointer> open;
        const auto any_name = [&] { return "f" + std::to_string(random() % 6); };
        const auto present = [&]() -> std::pair<const std::string, Pointer>& {
            return *std::next(names.begin(), static_cast<std::ptrdiff_t>(random() % names.size()));
        };
        const auto check = [&](const Pointer& file) {
            EXPECT_TRUE(it.content(file->node) == file->bytes);
        };
        fuse::Attributes made;
        for (int i = 0; i < 400 && !testing::Test::HasFailure(); ++i) {
            const std::string name = any_name();
            const auto known = names.find(name);
            switch (random() % 7) {
                case 0: {
                    const int error = it.tree->create(directory, name, kMaking, made);
                    EXPECT_EQ(error, known == names.end() ? 0 : EEXIST);
                    if (error != 0) break;
                    names[name] = std::make_shared<File>(File{"", made.node});
                    open.push_back(names[name]);
                    it.tree->forget(made.node, 1);
                    break;
                }
                case 1:
                    EXPECT_EQ(it.tree->unlink(directory, name), known == names.end() ? ENOENT : 0);
                    if (known != names.end()) names.erase(known);
                    break;
                case 2: {
                    if (names.empty()) break;
                    const auto [old, file] = present();
                    EXPECT_EQ(it.tree->rename(directory, old, directory, name, false), 0);
                    const bool same = known != names.end() && known->second == file;
                    if (same) break;
                    names.erase(old);
                    names[name] = file;
                    break;
                }
                case 3: {
                    if (names.empty()) break;
                    const Pointer file = present().second;
                    const int error = it.tree->link(file->node, directory, name, made);
                    EXPECT_EQ(error, known == names.end() ? 0 : EEXIST);
                    if (error != 0) break;
                    it.tree->forget(made.node, 1);
                    names[name] = file;
                    break;
                }
                case 4: {
                    if (names.empty()) break;
                    const Pointer file = present().second;
                    fuse::Opened how;
                    EXPECT_EQ(it.tree->open(file->node, how), 0);
                    open.push_back(file);
                    break;
                }
                case 5: {
                    if (open.empty()) break;
                    const std::size_t at = random() % open.size();
                    check(open[at]);
                    it.tree->release(open[at]->node);
                    open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
                    break;
                }
                default: {
                    if (open.empty()) break;
                    File& file = *open[random() % open.size()];
                    const std::size_t offset = random() % (file.bytes.size() + 5000);
                    const std::string text = random_bytes(1 + random() % 9000, random());
                    EXPECT_EQ(it.tree->write(file.node, offset, text, {}), 0);
                    file.bytes.resize(std::max(file.bytes.size(), offset + text.size()));
                    file.bytes.replace(offset, text.size(), text);
                }
            }
        }
        std::vector<std::string> expected;
        for (const auto& [name, file] : names) {
            expected.push_back(name);
            EXPECT_EQ(it.find("data/base/1/" + name), file->node);
            check(file);
        }
        EXPECT_THAT(it.names(directory), testing::UnorderedElementsAreArray(expected));
        for (const Pointer& file : open) {
            check(file);
            it.tree->release(file->node);
        }
        for (const std::string& name : expected) EXPECT_EQ(it.tree->unlink(directory, name), 0);
        EXPECT_EQ(it.sparse_files(), 0U);
    }
}

}  // namespace
}  // namespace chronos::ops::mount
