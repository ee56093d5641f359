// What a mount hands out, asked without a kernel: every file of the fixtures through the tree that
// the kernel would ask, in random ranges by several threads, beside what restore's own reader
// gives; damage and silence are EIO; nothing is fetched twice or kept beyond its bound.
#include "ops/mount/content.h"

#include <gmock/gmock.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/repo/block_map.h"
#include "chronos/repo/info.h"
#include "chronos/repo/stored_file.h"
#include "chronos/storage/forwarding.h"
#include "fixture.h"
#include "ops/mount/mount_info.h"
#include "ops/mount/start_set.h"
#include "ops/mount/tree.h"
#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::ops::mount {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Counts what is opened, says that it is far away if it shall, and holds readers up on request.
class WatchedStorage final : public storage::ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;

    std::atomic<bool> is_remote{false};
    std::atomic<bool> held{false};
    std::atomic<bool> gone{false};

    storage::Features features() const override {
        storage::Features features = next_.features();
        features.remote = is_remote;
        return features;
    }
    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        {
            const std::lock_guard lock(mutex_);
            ++opened_[name + " " + std::to_string(range.offset_bytes)];
        }
        while (held) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        if (gone) return Error(ErrorKind::service, "the store is away");
        return next_.open(name, range);
    }
    std::size_t opened() const {
        const std::lock_guard lock(mutex_);
        std::size_t count = 0;
        for (const auto& [range, times] : opened_) count += times;
        return count;
    }

private:
    mutable std::mutex mutex_;
    std::map<std::string, unsigned> opened_;
};

struct Backup {
    repo::Repository repository;
    std::shared_ptr<WatchedStorage> storage;
    std::vector<repo::Manifest> manifests;

    explicit Backup(const repo::Repository& plain) : repository(plain) {
        const auto info = repo::load_backup_info(repository, "main");
        for (const repo::BackupEntry& entry : info->backups)
            manifests.push_back(
                *repo::load_manifest(repository, "main", entry.label, info->cipher_pass));
        storage = std::make_shared<WatchedStorage>(plain.storage);
        repository.storage = storage;
    }
};

const std::string kStanza = "main";

/// Lines of the log while it lives.
class LogLines {
public:
    LogLines()
        : former_(set_log_receiver(
              [this](LogLevel, std::string_view line) { text += std::string(line) + "\n"; })) {}
    ~LogLines() { set_log_receiver(std::move(former_)); }
    std::string text;

private:
    LogReceiver former_;
};

std::string restored(const Backup& backup, const repo::Manifest& manifest,
                     const repo::ManifestFile& file) {
    auto content =
        repo::read_small_file(backup.repository, kStanza, manifest, file, std::uint64_t{1} << 30);
    EXPECT_TRUE(content) << content.error().text();
    return content ? *std::move(content) : std::string();
}

/// The largest file that is stored in that way.
const repo::ManifestFile& largest(const repo::Manifest& manifest, bool blocks) {
    const repo::ManifestFile* found = nullptr;
    for (const repo::ManifestFile& file : manifest.files)
        if (file.block_incremental() == blocks && (found == nullptr || file.size > found->size))
            found = &file;
    return *found;
}

struct Known {
    std::string archive, part, pass;
};
class EveryFixture : public testing::TestWithParam<Known> {};

// However it is stored, and whether it is near or far, each range of each file is what a restore
// writes, also when four threads read at once from a cache that holds next to nothing.
TEST_P(EveryFixture, RangesAreThoseOfARestore) {
    const test::Fixture fixture(GetParam().archive);
    Backup backup(fixture.repository(GetParam().pass, GetParam().part));
    backup.storage->is_remote = test_seed() % 2 == 0;
    for (const repo::Manifest& manifest : backup.manifests) {
        ContentLimits limits;
        limits.cache_bytes = test_seed() % 3 == 0 ? 1 : std::uint64_t{64} << 20;
        Content content(backup.repository, kStanza, manifest, limits);
        std::map<const repo::ManifestFile*, std::string> expected;
        for (const repo::ManifestFile& file : manifest.files)
            expected[&file] = restored(backup, manifest, file);
        std::atomic<unsigned> wrong{0};
        std::vector<std::thread> readers;
        for (unsigned reader = 0; reader < 4; ++reader)
            readers.emplace_back([&, reader] {
                std::mt19937_64 random(test_seed() + reader);
                for (int i = 0; i < 100; ++i) {
                    const repo::ManifestFile& file =
                        manifest.files[random() % manifest.files.size()];
                    if (file.size == 0) continue;
                    const std::uint64_t offset = random() % file.size;
                    const std::size_t size = 1 + random() % 300000;
                    std::string read;
                    const int error = content.read(file, offset, size, {}, read);
                    if (error != 0 || read != expected[&file].substr(offset, size)) ++wrong;
                }
            });
        for (std::thread& reader : readers) reader.join();
        EXPECT_EQ(wrong, 0u) << manifest.label << ", seed " << test_seed();
        EXPECT_EQ(content.figures().failures, 0u);
    }
}

INSTANTIATE_TEST_SUITE_P(All, EveryFixture,
                         testing::Values(Known{"crafted", "none-block", ""},
                                         Known{"crafted", "gz-block", ""},
                                         Known{"crafted", "lz4-block", ""},
                                         Known{"crafted", "zst-block", ""},
                                         Known{"crafted", "bz2-block", ""},
                                         Known{"crafted", "zst-block-aes", "pass-zst-block-aes"},
                                         Known{"crafted", "lz4-block-aes", "pass-lz4-block-aes"},
                                         Known{"crafted", "none-pgbi", ""},
                                         Known{"crafted", "gz-pgbi-aes", "pass-gz-pgbi-aes"},
                                         Known{"crafted", "gz-bundle-aes", "pass-gz-bundle-aes"},
                                         Known{"zst-bundle-block", "repo", ""},
                                         Known{"lz4-aes-tblspc", "repo", "fixture-repo-pass-d"}),
                         [](const testing::TestParamInfo<Known>& one) {
                             std::string name = one.param.archive + "_" + one.param.part;
                             std::ranges::replace(name, '-', '_');
                             return name;
                         });

/// One backup for what follows.
class OfContent : public testing::Test {
protected:
    OfContent() : fixture_("zst-bundle-block"), backup(fixture_.repository()) {
        limits.failure_stays = std::chrono::milliseconds(50);
    }
    const repo::Manifest& manifest() const { return backup.manifests.back(); }
    std::string path_of(const repo::ManifestFile& file) const {
        return backup.repository.storage->describe(repo::locate(kStanza, manifest(), file).object);
    }

    test::Fixture fixture_;
    Backup backup;
    ContentLimits limits;
};

TEST_F(OfContent, IsFetchedOnceForAllWhoWait) {
    const repo::ManifestFile& file = largest(manifest(), /*blocks=*/false);
    Content one(backup.repository, kStanza, manifest(), limits);
    backup.storage->held = true;
    std::atomic<unsigned> right{0};
    std::vector<std::thread> readers;
    for (int i = 0; i < 8; ++i)
        readers.emplace_back([&] {
            std::string read;
            if (one.read(file, 0, 100, {}, read) == 0 && read.size() == 100) ++right;
        });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    backup.storage->held = false;
    for (std::thread& reader : readers) reader.join();
    EXPECT_EQ(right, 8u);
    EXPECT_EQ(one.figures().fetches, 1u);
    EXPECT_EQ(backup.storage->opened(), 1u);
    std::string again;
    EXPECT_EQ(one.read(file, 50, 100, {}, again), 0);
    EXPECT_EQ(one.figures().fetches, 1u);
}

/// Waits until nothing is fetched any more.
std::uint64_t fetches_in_the_end(const Content& content) {
    std::uint64_t count = content.figures().fetches;
    for (int quiet = 0; quiet < 20; ++quiet) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        const std::uint64_t now = content.figures().fetches;
        if (now != count) quiet = 0;
        count = now;
    }
    return count;
}

/// A file of twelve super blocks of one block each.
struct TwelveUnits {
    static constexpr std::uint32_t kBlock = 128 * 1024;
    test::TemporaryDirectory directory;
    repo::Repository repository;
    repo::Manifest manifest;
    std::string text = random_text(12 * std::size_t{kBlock});

    TwelveUnits() {
        repository.storage = storage::make_posix_storage(directory.path());
        manifest.label = "20261120-075745F";
        manifest.references = {manifest.label};
        repo::BlockMap map(12);
        for (std::size_t i = 0; i < map.size(); ++i) {
            const auto checksum =
                crypto::xxh3_128(io::bytes(std::string_view(text).substr(i * kBlock, kBlock)));
            std::copy_n(checksum.begin(), 6, map[i].checksum.begin());
            map[i].super_block_size = map[i].size = kBlock;
            map[i].offset = i * kBlock;
        }
        const std::string map_text = repo::format_block_map(map, {kBlock, 6});
        repo::ManifestFile& file = manifest.files.emplace_back();
        file.name = "pg_data/base/5/1";
        file.size = text.size();
        file.repo_size = text.size() + map_text.size();
        file.block_map_size = map_text.size();
        file.block_size = kBlock;
        file.block_checksum_size = 6;
        const auto stored = storage::write_object(
            *repository.storage, repo::locate(kStanza, manifest, file).object, text + map_text);
        EXPECT_TRUE(stored);
    }
};

TEST(ContentInOrder, HasWhatComesNextFetchedTwiceAsMuchEachTime) {
    const TwelveUnits twelve;
    const repo::ManifestFile& file = twelve.manifest.files[0];
    std::string read;
    {
        Content one(twelve.repository, kStanza, twelve.manifest, {});
        const std::uint64_t expected[] = {1 + 1 + 1, 1 + 2 + 2, 1 + 3 + 4, 1 + 4 + 8};
        for (std::uint64_t unit = 0; unit < 4; ++unit) {
            ASSERT_EQ(one.read(file, unit * TwelveUnits::kBlock, 8192, {}, read), 0);
            EXPECT_EQ(fetches_in_the_end(one), expected[unit]) << unit;
        }
        read.clear();
        for (std::uint64_t at = 0; at < file.size; at += 8192)
            ASSERT_EQ(one.read(file, at, 8192, {}, read), 0);
        EXPECT_EQ(read, twelve.text);
        EXPECT_EQ(fetches_in_the_end(one), 13u);
    }
    Content one(twelve.repository, kStanza, twelve.manifest, {});
    for (const std::uint64_t unit : {11, 5, 0})
        ASSERT_EQ(one.read(file, unit * TwelveUnits::kBlock, 8192, {}, read), 0);
    EXPECT_EQ(fetches_in_the_end(one), 1u + 3);  // nothing follows what is read here and there
}

// Somebody else has then what was fetched, and asks only for the rest: what is read from front to
// back is fetched ahead all the same, and nothing twice.
TEST(ContentInOrder, FetchesOnceWhatSomebodyElseKeeps) {
    const TwelveUnits twelve;
    const repo::ManifestFile& file = twelve.manifest.files[0];
    std::mutex mutex;
    std::map<std::uint64_t, std::string> kept;
    Content one(twelve.repository, kStanza, twelve.manifest, {},
                [&](const repo::ManifestFile& of, const std::vector<Piece>& pieces) {
                    EXPECT_EQ(&of, &file);
                    const std::lock_guard lock(mutex);
                    for (const Piece& piece : pieces) {
                        EXPECT_TRUE(kept.emplace(piece.offset, piece.content).second);
                    }
                    return true;
                });
    std::size_t questions = 0;
    for (std::uint64_t unit = 0; unit < 12; ++unit) {
        {
            const std::lock_guard lock(mutex);
            if (kept.contains(unit * TwelveUnits::kBlock)) continue;
        }
        std::string read;
        ASSERT_EQ(one.read(file, unit * TwelveUnits::kBlock, 8192, {}, read), 0);
        EXPECT_EQ(read, twelve.text.substr(unit * TwelveUnits::kBlock, 8192));
        ++questions;
        fetches_in_the_end(one);
    }
    // 0 with 1, 2 with 3 and 4, 5 with four, 10 with the last one.
    EXPECT_EQ(questions, 4u);
    EXPECT_EQ(one.figures().fetches, 13u);
    EXPECT_EQ(kept.size(), 12u);
    EXPECT_LT(one.figures().cached_bytes, 10'000u);  // the map
}

TEST(ContentInOrder, AsksOnceFromFarAwayForWhatIsKnownToBeReadAndNotForItsDamage) {
    TwelveUnits twelve;
    const auto watched = std::make_shared<WatchedStorage>(twelve.repository.storage);
    watched->is_remote = true;
    twelve.repository.storage = watched;
    const repo::ManifestFile& file = twelve.manifest.files[0];
    std::string read;
    {
        Content one(twelve.repository, kStanza, twelve.manifest, {});
        ASSERT_EQ(one.read_behind(file, 0, file.size, {}, read), 0);
        EXPECT_EQ(read, twelve.text);
        EXPECT_EQ(one.figures().fetches, 2u);  // the map, the rest
        EXPECT_EQ(watched->opened(), 2u);
    }
    // What has come to its place is not fetched again for who comes late: it looks there.
    std::mutex mutex;
    std::size_t kept = 0;
    Content there(
        twelve.repository, kStanza, twelve.manifest, {},
        [&](const repo::ManifestFile&, const std::vector<Piece>& pieces) {
            const std::lock_guard lock(mutex);
            for (const Piece& piece : pieces) kept += piece.content.size();
            return true;
        },
        InPlace{[](const auto&, std::uint64_t, std::string_view) { return false; },
                [](const auto&) {}});
    for (std::size_t before = 1; kept != before;) {
        before = kept;
        EXPECT_THAT(there.read_behind(file, 0, file.size, {}, read), testing::AnyOf(0, EAGAIN));
    }
    EXPECT_EQ(there.read(file, 0, file.size, {}, read), EAGAIN);
    EXPECT_EQ(kept, file.size);
    EXPECT_EQ(there.figures().fetches, 2u);
    // One that is damaged is for itself.
    const std::string object = repo::locate(kStanza, twelve.manifest, file).object;
    std::string stored = test::read_file(twelve.directory.path() + "/" + object);
    stored[5 * TwelveUnits::kBlock + 17] ^= 1;
    ASSERT_TRUE(storage::write_object(*twelve.repository.storage, object, stored));
    Content damaged(twelve.repository, kStanza, twelve.manifest, {});
    read.clear();
    EXPECT_EQ(damaged.read_behind(file, 0, file.size, {}, read), EIO);
    EXPECT_EQ(read, twelve.text.substr(0, 5 * std::size_t{TwelveUnits::kBlock}));
    read.clear();
    EXPECT_EQ(damaged.read_behind(file, 6 * TwelveUnits::kBlock, file.size, {}, read), 0);
    EXPECT_EQ(read, twelve.text.substr(6 * std::size_t{TwelveUnits::kBlock}));
}

TEST_F(OfContent, WhatIsFetchedAheadIsThereForWhoAsks) {
    backup.storage->is_remote = true;
    std::mutex mutex;
    std::map<std::string, std::string> kept;
    const std::vector<const repo::ManifestFile*> wanted = start_set(manifest());
    ASSERT_GT(wanted.size(), 100u);
    {
        Content one(backup.repository, kStanza, manifest(), limits,
                    [&](const repo::ManifestFile& file, const std::vector<Piece>& pieces) {
                        const std::lock_guard lock(mutex);
                        // Of some it does not want to keep anything.
                        if (file.size % 3 == 0) return false;
                        std::string& content = kept[file.name.str()];
                        EXPECT_EQ(content, "");
                        for (const Piece& piece : pieces) content += piece.content;
                        return true;
                    });
        one.fetch_ahead(wanted);
        fetches_in_the_end(one);
        const std::size_t opened = backup.storage->opened();
        EXPECT_LT(opened, wanted.size() / 10);
        for (const repo::ManifestFile* const file : wanted) {
            std::string read;
            if (file->size == 0) continue;
            {
                const std::lock_guard lock(mutex);
                if (const auto found = kept.find(file->name.str()); found != kept.end())
                    read = found->second;
            }
            if (read.empty()) {
                if (file->size > Content::kInMemoryMax || file->block_incremental()) continue;
                ASSERT_EQ(one.read(*file, 0, file->size, {}, read), 0);
            }
            EXPECT_EQ(crypto::sha1_hex(read), file->expected_checksum()) << file->name.view();
        }
        EXPECT_EQ(backup.storage->opened(), opened);
    }
}

class StartSet : public testing::Test {
protected:
    repo::Manifest manifest;
    UnixTime now = 1'000'000'000;

    void add(const std::string& name, std::uint64_t stored = 8192, std::uint64_t bundle = 1) {
        repo::ManifestFile& file = manifest.files.emplace_back();
        file.name = name;
        file.size = file.repo_size = stored;
        file.bundle_id = bundle;
        file.timestamp = ++now;
    }
    std::vector<std::string> of(const std::vector<std::string>& databases = {}) const {
        std::vector<std::string> names;
        for (const repo::ManifestFile* const file : start_set(manifest, databases))
            names.push_back(file->name.str());
        return names;
    }
};

TEST_F(StartSet, IsWhatAServerReadsAtItsStartAndNotTheTablesOfUsers) {
    for (const char* const name :
         {"pg_data/base/5/1259", "pg_data/base/5/16384", "pg_data/base/5/1259_fsm",
          "pg_data/base/5/16390_init", "pg_data/base/5/PG_VERSION", "pg_data/global/pg_control",
          "pg_data/pg_xact/0000", "pg_data/pg_xact/0001", "pg_data/pg_twophase/0000A1B2",
          "pg_data/pg_logical/replorigin_checkpoint", "pg_data/pg_stat/pgstat.stat",
          "pg_data/pg_wal/000000010000000000000001", "pg_data/postgresql.auto.conf",
          "pg_tblspc/16391/PG_15_202209061/5/1259"})
        add(name);
    add("pg_data/backup_label", 300, 0);
    add("pg_data/base/5/2662", 8192, 0);
    add("pg_data/base/5/2836", 8192, 0);  // likely only, and a request for itself
    EXPECT_THAT(
        of(),
        ElementsAre("pg_data/global/pg_control", "pg_data/pg_twophase/0000A1B2",
                    "pg_data/pg_logical/replorigin_checkpoint", "pg_data/postgresql.auto.conf",
                    "pg_data/backup_label", "pg_data/pg_xact/0001", "pg_data/base/5/1259",
                    "pg_data/base/5/PG_VERSION", "pg_tblspc/16391/PG_15_202209061/5/1259",
                    "pg_data/base/5/2662", "pg_data/base/5/1259_fsm", "pg_data/base/5/16390_init"));
}

// Whoever puts files of his own into a data directory does not make others wait for them.
TEST_F(StartSet, HasNothingOfFilesThatNoServerReads) {
    add("pg_data/PG_VERSION");
    for (int number = 0; number < 5000; ++number) {
        add("pg_data/of_somebody/" + std::to_string(number), 1000, 2);
        add("pg_data/" + std::to_string(number) + ".log", 1000, 0);
        add("pg_data/pg_log/" + std::to_string(number) + ".conf", 1000, 0);
    }
    EXPECT_THAT(of(), ElementsAre("pg_data/PG_VERSION"));
}

TEST_F(StartSet, IsOfTheDatabasesThatAreAsked) {
    manifest.databases = {{"one", 16400, 0}, {"two", 16500, 0}};
    for (const char* const name :
         {"pg_data/base/16400/1259", "pg_data/base/16500/1259", "pg_data/base/1/1259",
          "pg_tblspc/16391/PG_15_202209061/16500/1249", "pg_data/base/16400/20000_init"})
        add(name);
    EXPECT_THAT(of({"two"}),
                ElementsAre("pg_data/base/16500/1259", "pg_tblspc/16391/PG_15_202209061/16500/1249",
                            "pg_data/base/16400/20000_init"));
    EXPECT_EQ(of({"three"}).size(), 5u);
    EXPECT_EQ(of().size(), 5u);
}

TEST_F(StartSet, HasABoundAndWhatIsNeededFirstFirst) {
    for (int number = 0; number < 20; ++number)
        add("pg_data/base/5/" + std::to_string(3000 + number), kStartFileMax);
    add("pg_data/base/5/1259", kStartFileMax + 1);  // of which some pages are read
    add("pg_data/base/5/1249", 8192);
    add("pg_data/global/1262", 8192);
    const std::vector<std::string> names = of();
    ASSERT_EQ(names.size(), 2 + kStartSetMax / kStartFileMax - 1);
    EXPECT_EQ(names[0], "pg_data/global/1262");
    EXPECT_EQ(names[1], "pg_data/base/5/1249");
}

TEST_F(OfContent, KeepsNoMoreThanItsBound) {
    limits.cache_bytes = 300'000;
    Content one(backup.repository, kStanza, manifest(), limits);
    for (const repo::ManifestFile& file : manifest().files) {
        std::string read;
        if (file.size == 0) continue;
        ASSERT_EQ(one.read(file, 0, file.size, {}, read), 0);
        // What is used last is kept, however large it is.
        EXPECT_LE(one.figures().cached_bytes,
                  std::max<std::uint64_t>(300'000, file.size + 100'000));
    }
}

TEST_F(OfContent, NeighboursInABundleComeAlongFromFarAway) {
    backup.storage->is_remote = true;
    Content one(backup.repository, kStanza, manifest(), limits);
    std::size_t files = 0;
    for (const repo::ManifestFile& file : manifest().files) {
        if (!file.bundled() || file.size == 0 || file.size > 1048576) continue;
        std::string read;
        ASSERT_EQ(one.read(file, 0, file.size, {}, read), 0);
        EXPECT_EQ(crypto::sha1_hex(read), file.expected_checksum());
        ++files;
    }
    EXPECT_GT(files, 100u);
    EXPECT_LT(backup.storage->opened(), files / 10);
}

TEST_F(OfContent, ADamagedMemberIsEIOAndItsNeighboursAreNot) {
    backup.storage->is_remote = true;
    std::vector<const repo::ManifestFile*> members;
    for (const repo::ManifestFile& file : manifest().files)
        if (file.bundled() && !file.block_incremental() && file.size > 100 && file.repo_size > 60)
            members.push_back(&file);
    std::mt19937_64 random(test_seed());
    const repo::ManifestFile& bad = *members[random() % members.size()];
    std::fstream object(path_of(bad), std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(bad.bundle_offset + bad.repo_size / 2);
    object.seekg(at);
    const char byte = static_cast<char>(object.get() ^ 1);
    object.seekp(at);
    object.put(byte);
    object.close();
    LogLines log;
    Content one(backup.repository, kStanza, manifest(), limits);
    for (const repo::ManifestFile* file : members) {
        std::string read;
        // Another one of the same content, at the same place, is as bad.
        const bool same = file->reference == bad.reference && file->bundle_id == bad.bundle_id &&
                          file->bundle_offset == bad.bundle_offset;
        EXPECT_EQ(one.read(*file, 0, file->size, {}, read), same ? EIO : 0)
            << file->name.str() << ", seed " << test_seed();
        EXPECT_EQ(read.size(), same ? 0 : file->size);
    }
    EXPECT_THAT(log.text, HasSubstr("file '" + bad.name + "' cannot be read: "));
    EXPECT_GT(one.figures().failures, 0u);
}

TEST_F(OfContent, WhatIsAwayIsEIOAndIsTriedAgain) {
    const repo::ManifestFile& file = largest(manifest(), /*blocks=*/true);
    LogLines log;
    Content one(backup.repository, kStanza, manifest(), limits);
    backup.storage->gone = true;
    std::string read;
    EXPECT_EQ(one.read(file, 0, 10, {}, read), EIO);
    EXPECT_THAT(log.text, HasSubstr("the store is away"));
    backup.storage->gone = false;
    std::this_thread::sleep_for(2 * limits.failure_stays);
    EXPECT_EQ(one.read(file, 0, 10, {}, read), 0);
    EXPECT_EQ(read.size(), 10u);
}

TEST_F(OfContent, SilenceIsEIOInTimeAndASignalEndsTheWait) {
    const repo::ManifestFile& file = largest(manifest(), /*blocks=*/true);
    limits.patience = std::chrono::milliseconds(300);
    LogLines log;
    Content one(backup.repository, kStanza, manifest(), limits);
    backup.storage->held = true;
    std::string read;
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(one.read(
                  file, 0, 10, [&] { return true; }, read),
              EINTR);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(290));
    EXPECT_EQ(one.read(file, 0, 10, {}, read), EIO);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
    EXPECT_THAT(log.text, HasSubstr("nothing has arrived from"));
    backup.storage->held = false;
    std::this_thread::sleep_for(2 * limits.failure_stays);
    EXPECT_EQ(one.read(file, 0, 10, {}, read), 0);
}

// A file above the bound of what is decoded into memory goes through the spool, and one that does
// not fit there is refused with what to do. The bound is the real one: the file is made for this.
TEST(ContentOfAWholeFile, GoesThroughTheSpoolOrToItsPlace) {
    for (const auto type :
         {compress::CompressType::none, compress::CompressType::gz, compress::CompressType::lz4,
          compress::CompressType::zst, compress::CompressType::bz2})
        for (const bool encrypted : {false, true}) {
            SCOPED_TRACE(std::string(compress::compress_extension(type)) +
                         (encrypted ? ", encrypted" : ""));
            test::TemporaryDirectory directory;
            repo::Repository repository;
            repository.storage = storage::make_posix_storage(directory.path());
            if (encrypted) repository.cipher = crypto::CipherType::aes_256_cbc;
            repo::Manifest manifest;
            manifest.label = "20261120-075745F";
            manifest.references = {manifest.label};
            manifest.cipher_pass = encrypted ? "pass" : "";
            manifest.options.compress_type = type;
            const std::string text = random_text(Content::kInMemoryMax + 12345);
            repo::ManifestFile& file = manifest.files.emplace_back();
            file.name = "pg_data/base/5/1";
            file.size = text.size();
            file.checksum = crypto::sha1_hex(text);
            const std::string object = repo::locate(kStanza, manifest, file).object;
            {
                auto sink = repository.storage->create(object, storage::WriteMode::atomic);
                ASSERT_OK(sink);
                repo::Encoder encoder(
                    repo::set_encoding(type, compress::default_compress_level(type),
                                       manifest.cipher_pass),
                    **sink);
                ASSERT_OK(encoder.write(io::bytes(text)));
                ASSERT_OK(encoder.finish());
            }
            ContentLimits limits;
            limits.spool_path = directory.path();
            limits.failure_stays = std::chrono::milliseconds(0);
            Content one(repository, kStanza, manifest, limits);
            std::mt19937_64 random(test_seed());
            for (int i = 0; i < 20; ++i) {
                const std::uint64_t offset = random() % text.size();
                std::string read;
                ASSERT_EQ(one.read(file, offset, 70000, {}, read), 0);
                EXPECT_EQ(read, text.substr(offset, 70000)) << "seed " << test_seed();
            }
            EXPECT_EQ(one.figures().fetches, 1u);
            EXPECT_EQ(one.figures().spooled_bytes, text.size());
            limits.spool_bytes = text.size() - 1;
            LogLines log;
            Content small(repository, kStanza, manifest, limits);
            std::string read;
            EXPECT_EQ(small.read(file, 0, 1, {}, read), EIO);
            EXPECT_THAT(log.text, HasSubstr("--mount-spool-size"));
            // The last byte decides too: nothing of a file is given before all of it is verified.
            manifest.files[0].checksum = crypto::sha1_hex(std::string("another"));
            Content damaged(repository, kStanza, manifest, {.spool_path = directory.path()});
            EXPECT_EQ(damaged.read(manifest.files[0], 0, 1, {}, read), EIO);
            EXPECT_EQ(read, "");
            // Where somebody has a place for it, it goes there; done it is if it is right.
            for (const bool is_right : {false, true})
                for (const std::size_t room : {text.size(), text.size() / 2}) {
                    manifest.files[0].checksum =
                        crypto::sha1_hex(is_right ? text : std::string("another"));
                    std::string laid;
                    bool done = false;
                    const InPlace in_place{
                        [&](const repo::ManifestFile&, std::uint64_t at, std::string_view piece) {
                            EXPECT_EQ(at, laid.size());
                            EXPECT_EQ(at % InPlace::kPage, 0u);
                            laid += piece;
                            return laid.size() <= room;
                        },
                        [&](const repo::ManifestFile&) { done = true; }};
                    limits.spool_bytes = text.size();
                    Content there(repository, kStanza, manifest, limits, nullptr, in_place);
                    const bool has_room = room == text.size();
                    EXPECT_EQ(there.read(manifest.files[0], 0, 1, {}, read), !is_right  ? EIO
                                                                             : has_room ? EAGAIN
                                                                                        : 0);
                    EXPECT_EQ(done, is_right && has_room);
                    EXPECT_TRUE(!done || laid == text);
                    EXPECT_EQ(there.figures().spooled_bytes,
                              is_right && !has_room ? text.size() : 0);
                }
        }
}

/// Names of a directory, without the two that all have.
std::vector<std::string> names_in(Tree& tree, fuse::NodeId directory) {
    std::vector<std::string> names;
    EXPECT_EQ(tree.list(directory, 2,
                        [&](std::string_view name, const fuse::Attributes&, std::uint64_t) {
                            names.emplace_back(name);
                            return true;
                        }),
              0);
    return names;
}

TEST(MountedTree, IsWhatARestoreMakes) {
    const test::Fixture fixture("lz4-aes-tblspc");
    Backup backup(fixture.repository("fixture-repo-pass-d"));
    const repo::Manifest& manifest = backup.manifests.back();
    Content content(backup.repository, kStanza, manifest, {});
    Tree tree(manifest, content, false, [] { return std::string("pid 1\n"); });
    std::size_t files = 0;
    for (const repo::ManifestFile& file : manifest.files) {
        std::string name = file.name.str();
        if (name.starts_with("pg_data/")) name = name.substr(8);
        fuse::Attributes at{.node = fuse::kRoot};
        int error = 0;
        for (const std::string_view part : split(name, '/'))
            if (error == 0) error = tree.lookup(at.node, part, at);
        if (name == "tablespace_map") {
            EXPECT_EQ(error, ENOENT);
            continue;
        }
        ASSERT_EQ(error, 0) << name;
        EXPECT_EQ(at.size, file.size);
        EXPECT_EQ(at.mode, S_IFREG | file.mode);
        EXPECT_EQ(at.modified, file.timestamp);
        std::string read;
        ASSERT_EQ(tree.read(at.node, 0, file.size + 1000, {}, read), 0);
        EXPECT_EQ(crypto::sha1_hex(read), file.expected_checksum()) << name;
        EXPECT_EQ(tree.read(at.node, file.size, 10, {}, read), 0);
        EXPECT_EQ(read, "");
        fuse::Opened how;
        EXPECT_EQ(tree.open(at.node, how), 0);
        EXPECT_FALSE(how.size_unknown);
        fuse::Attributes found;
        EXPECT_EQ(tree.lookup(at.node, "x", found), ENOTDIR);
        ++files;
    }
    EXPECT_GT(files, 900u);
    fuse::Attributes spaces;
    ASSERT_EQ(tree.lookup(fuse::kRoot, "pg_tblspc", spaces), 0);
    const std::vector<std::string> oids = names_in(tree, spaces.node);
    ASSERT_EQ(oids.size(), 1u);
    fuse::Attributes space;
    ASSERT_EQ(tree.lookup(spaces.node, oids[0], space), 0);
    EXPECT_TRUE(S_ISDIR(space.mode));
    EXPECT_THAT(names_in(tree, space.node), ElementsAre(HasSubstr("PG_15_")));
}

// Root's mount has the owners of the backup, where they mean something, anybody else's his own.
TEST(MountedTree, HasTheOwnersOfTheBackupForRoot) {
    const test::Fixture fixture("zst-bundle-block");
    Backup backup(fixture.repository());
    const repo::Manifest& manifest = backup.manifests[0];
    Content content(backup.repository, kStanza, manifest, {});
    const repo::ManifestFile* const file = manifest.find_file("pg_data/PG_VERSION");
    const passwd* const owner = getpwnam(file->user->c_str());
    for (const bool keep : {false, true}) {
        Tree tree(manifest, content, keep, [] { return std::string(); });
        fuse::Attributes found;
        ASSERT_EQ(tree.lookup(fuse::kRoot, "PG_VERSION", found), 0);
        EXPECT_EQ(found.user, keep && owner != nullptr ? owner->pw_uid : geteuid());
    }
}

TEST(MountedTree, ListsInPiecesAndTellsOfItselfUnderAHiddenName) {
    const test::Fixture fixture("zst-bundle-block");
    Backup backup(fixture.repository());
    Content content(backup.repository, kStanza, backup.manifests[0], {});
    Tree tree(backup.manifests[0], content, false, [] { return std::string("pid 1\n"); });
    std::vector<std::string> whole = names_in(tree, fuse::kRoot), pieces;
    for (std::uint64_t first = 0;; ++first) {
        const std::size_t before = pieces.size();
        EXPECT_EQ(tree.list(fuse::kRoot, first,
                            [&](std::string_view name, const fuse::Attributes&, std::uint64_t) {
                                if (pieces.size() > before) return false;
                                pieces.emplace_back(name);
                                return true;
                            }),
                  0);
        if (pieces.size() == before) break;
    }
    whole.insert(whole.begin(), {".", ".."});
    EXPECT_EQ(pieces, whole);
    EXPECT_THAT(whole, testing::Contains("PG_VERSION"));
    EXPECT_THAT(whole, testing::Not(testing::Contains(".chronos")));
    fuse::Attributes status;
    ASSERT_EQ(tree.lookup(fuse::kRoot, ".chronos", status), 0);
    fuse::Opened how;
    ASSERT_EQ(tree.open(status.node, how), 0);
    EXPECT_TRUE(how.size_unknown);
    std::string read;
    EXPECT_EQ(tree.read(status.node, 0, 100, {}, read), 0);
    EXPECT_EQ(read, "pid 1\n");
    fuse::Attributes found;
    EXPECT_EQ(tree.attributes(1u << 30, found), ENOENT);
    EXPECT_EQ(tree.lookup(1u << 30, "a", found), ENOENT);
    EXPECT_EQ(tree.lookup(fuse::kRoot, "no such", found), ENOENT);
}

TEST(MountInfo, FindsOurMountsAmongOthers) {
    const std::vector<Mount> mounts = parse_mounts(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "90 22 0:55 / /mnt/b\\040c ro,nosuid - fuse.chronos chronos:repo2:20261120-075745F:ma-in "
        "ro\n"
        "91 22 0:56 / /mnt/a ro shared:2 master:3 - fuse.chronos "
        "chronos:repo1:20261120-075745F_20261120-075816D:x ro\n"
        "92 22 0:57 / /mnt/c ro - fuse.sshfs host:dir ro\n"
        "93 22 0:58 / /mnt/d ro - fuse.chronos something ro\n"
        "broken\n");
    ASSERT_EQ(mounts.size(), 2u);
    EXPECT_EQ(mounts[0].path, "/mnt/a");
    EXPECT_EQ(mounts[0].label, "20261120-075745F_20261120-075816D");
    EXPECT_EQ(mounts[1].path, "/mnt/b c");
    EXPECT_EQ(mounts[1].repo_key, 2u);
    EXPECT_EQ(mounts[1].stanza, "ma-in");
}

}  // namespace
}  // namespace chronos::ops::mount
