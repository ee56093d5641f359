// Every file of every backup in the fixtures, read and compared with what its manifest records. The
// fixtures were written by pgBackRest: bundles, block-incremental chains, all codecs, encryption.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <set>

#include "chronos/crypto/hash.h"
#include "chronos/repo/info.h"
#include "chronos/repo/lazy_file.h"
#include "chronos/repo/stored_file.h"
#include "chronos/storage/posix/posix_storage.h"
#include "fixtures_directory.h"
#include "random_bytes.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::repo {
namespace {

struct KnownFixture {
    std::string archive;     ///< name of the packed file
    std::string directory;   ///< of the repository in it
    std::string passphrase;  ///< "" if it is not encrypted
    bool has_maps;           ///< block-incremental files
};

/// Those that travel with the project come first; the rest is tested where it is at hand.
const KnownFixture kFixtures[] = {
    {"crafted", "none-block", "", true},
    {"crafted", "gz-block", "", true},
    {"crafted", "lz4-block", "", true},
    {"crafted", "zst-block", "", true},
    {"crafted", "bz2-block", "", true},
    {"crafted", "zst-block-aes", "pass-zst-block-aes", true},
    {"crafted", "lz4-block-aes", "pass-lz4-block-aes", true},
    {"crafted", "none-pgbi", "", true},
    {"crafted", "gz-pgbi-aes", "pass-gz-pgbi-aes", true},
    {"crafted", "gz-bundle-aes", "pass-gz-bundle-aes", false},
    {"zst-bundle-block", "repo", "", true},
    {"lz4-aes-tblspc", "repo", "fixture-repo-pass-d", false},
    {"plain-gz", "repo", "", false},
    {"zst-bundle-block-aes", "repo", "fixture-repo-pass-c", true},
    {"gz-bundle-aes", "repo", "fixture-repo-pass-f", false},
    {"v245-gz-bundle-aes", "repo", "fixture-repo-pass-h", false},
};
constexpr std::size_t kCarried = 12;

std::string fixtures_directory() {
    const char* wanted = std::getenv("TEST_FIXTURES_DIR");
    return wanted != nullptr ? wanted : CHRONOS_FIXTURES;
}

std::string packed(const KnownFixture& fixture) {
    return fixtures_directory() + "/" + fixture.archive + ".tar.zst";
}

/// The content of an info file or manifest.
Result<std::string> read_info_text(const Repository& repository, const std::string& name,
                                   const std::string& passphrase) {
    const std::string stored = CHRONOS_TRY(storage::read_object(*repository.storage, name));
    if (!repository.encrypted()) return stored;
    io::MemorySink text;
    const auto decryptor = crypto::make_decryptor(passphrase, crypto::CipherForm::normal, text);
    CHRONOS_TRY(decryptor->write(io::bytes(stored)));
    CHRONOS_TRY(decryptor->finish());
    return std::move(text.content);
}

bool carried(const KnownFixture& fixture) {
    return std::any_of(kFixtures, kFixtures + kCarried,
                       [&](const KnownFixture& one) { return one.archive == fixture.archive; });
}

class FixtureContent : public testing::TestWithParam<KnownFixture> {
protected:
    void SetUp() override {
        const KnownFixture& fixture = GetParam();
        const std::string command = "tar --zstd -xf '" + packed(fixture) + "' -C '" +
                                    directory_.path() + "' --wildcards '" + fixture.directory +
                                    "/backup/*'";
        ASSERT_EQ(std::system(command.c_str()), 0) << command;
        repository.storage = storage::make_posix_storage(directory_ / fixture.directory);
        repository.passphrase = fixture.passphrase;
        if (!fixture.passphrase.empty()) repository.cipher = crypto::CipherType::aes_256_cbc;
        load_manifests();
    }

    void load_manifests() {
        const auto info_text =
            read_info_text(repository, "backup/main/backup.info", repository.passphrase);
        ASSERT_OK(info_text);
        const auto info = parse_backup_info(*info_text);
        ASSERT_OK(info);
        for (const BackupEntry& backup : info->backups) {
            const auto text =
                read_info_text(repository, backup_path("main", backup.label) + "/backup.manifest",
                               info->cipher_pass);
            ASSERT_OK(text);
            auto manifest = parse_manifest(*text);
            ASSERT_OK(manifest);
            manifests.push_back(std::move(*manifest));
        }
        ASSERT_GE(manifests.size(), 2u);
    }

    Result<std::string> sha1_of_whole(const Manifest& manifest, const ManifestFile& file) {
        io::NullSink nothing;
        crypto::Sha1Sink sha1(nothing);
        CHRONOS_TRY(read_whole_file(repository, "main", manifest, file, sha1));
        return sha1.hex();
    }

    /// Checks each block against the map on the way.
    Result<std::string> sha1_of_blocks(const Manifest& manifest, const ManifestFile& file) {
        const BlockMap map = CHRONOS_TRY(read_block_map(repository, "main", manifest, file));
        std::string content(file.size, '\0');
        std::set<std::uint64_t> received;
        const auto receive = [&](std::uint64_t number, io::Bytes block) -> Result<> {
            EXPECT_TRUE(received.insert(number).second) << "block twice: " << number;
            const auto checksum = crypto::xxh3_128(block);
            EXPECT_TRUE(std::equal(checksum.begin(), checksum.begin() + file.block_checksum_size,
                                   map.at(number).checksum.begin()))
                << file.name.view() << " block " << number;
            content.replace(number * file.block_size, block.size(), io::text(block));
            return {};
        };
        CHRONOS_TRY(read_blocks(repository, "main", manifest, file, map, {}, receive));
        EXPECT_EQ(received.size(), map.size());
        return crypto::sha1_hex(content);
    }

    Repository repository;
    std::vector<Manifest> manifests;

private:
    test::TemporaryDirectory directory_;
};

TEST_P(FixtureContent, EveryFileHasTheChecksumOfItsManifest) {
    std::size_t count = 0;
    for (const Manifest& manifest : manifests)
        for (const ManifestFile& file : manifest.files) {
            SCOPED_TRACE(manifest.label + " " + file.name);
            const auto sha1 = file.block_incremental() ? sha1_of_blocks(manifest, file)
                                                       : sha1_of_whole(manifest, file);
            ASSERT_OK(sha1);
            EXPECT_EQ(*sha1, file.expected_checksum());
            ++count;
        }
    EXPECT_GT(count, 10u);
}

TEST_P(FixtureContent, EveryBlockMapIsWrittenBackToItsBytes) {
    std::size_t maps = 0;
    for (const Manifest& manifest : manifests)
        for (const ManifestFile& file : manifest.files) {
            if (!file.block_incremental()) continue;
            SCOPED_TRACE(manifest.label + " " + file.name);
            const auto map = read_block_map(repository, "main", manifest, file);
            ASSERT_OK(map);
            const StoredLocation stored = locate("main", manifest, file);
            const auto source = repository.storage->open(
                stored.object, {stored.range.offset_bytes + file.repo_size - file.block_map_size,
                                file.block_map_size});
            ASSERT_OK(source);
            io::MemorySink text;
            const auto decryptor =
                crypto::make_decryptor(manifest.cipher_pass, crypto::CipherForm::raw, text);
            ASSERT_OK(io::copy(**source, repository.encrypted() ? *decryptor : text));
            EXPECT_EQ(format_block_map(*map, {file.block_size, file.block_checksum_size}),
                      text.content);
            ++maps;
        }
    EXPECT_EQ(maps > 0, GetParam().has_maps);
}

/// Those that travel with the project, and what TEST_FIXTURES_DIR has beside them.
std::vector<KnownFixture> fixtures_at_hand() {
    std::vector<KnownFixture> found;
    for (const KnownFixture& fixture : kFixtures)
        if (carried(fixture) || std::filesystem::exists(packed(fixture))) found.push_back(fixture);
    return found;
}

/// What the units give, put together; the caller says in which order they are fetched.
Result<std::string> fetch_units(const LazyFile& lazy, const std::vector<std::size_t>& units) {
    std::string content(lazy.size_bytes(), '\0');
    for (const std::size_t unit : units) {
        std::uint64_t received = 0;
        CHRONOS_TRY(lazy.fetch({&unit, 1}, [&](std::uint64_t offset, io::Bytes part) -> Result<> {
            EXPECT_LE(offset + part.size(), content.size());
            EXPECT_EQ(lazy.unit_at(offset), unit);
            content.replace(offset, part.size(), io::text(part));
            received += part.size();
            return {};
        }));
        EXPECT_EQ(received, lazy.unit_size_bytes(unit));
    }
    return content;
}

std::vector<std::size_t> shuffled_units(const LazyFile& lazy, std::mt19937_64& random) {
    std::vector<std::size_t> units(lazy.unit_count());
    std::iota(units.begin(), units.end(), std::size_t{0});
    std::ranges::shuffle(units, random);
    return units;
}

// Fetched unit by unit in any order, or several at once, a file is the one that its manifest
// describes; and each byte lies in the unit, and before the end of the part, that is said of it.
TEST_P(FixtureContent, UnitsInAnyOrderAreTheFile) {
    std::mt19937_64 random(test_seed());
    std::size_t chained = 0;
    for (const Manifest& manifest : manifests)
        for (const ManifestFile& file : manifest.files) {
            SCOPED_TRACE(manifest.label + " " + file.name + ", seed " +
                         std::to_string(test_seed()));
            const auto lazy = LazyFile::open(repository, "main", manifest, file);
            ASSERT_OK(lazy);
            EXPECT_EQ(lazy->unit_count() == 0, file.size == 0);
            const std::vector<std::size_t> units = shuffled_units(*lazy, random);
            const auto content = fetch_units(*lazy, units);
            ASSERT_OK(content);
            EXPECT_EQ(crypto::sha1_hex(*content), file.expected_checksum());
            std::string at_once(file.size, '\0');
            ASSERT_OK(lazy->fetch(units, [&](std::uint64_t offset, io::Bytes part) -> Result<> {
                at_once.replace(offset, part.size(), io::text(part));
                return {};
            }));
            EXPECT_EQ(at_once, *content);
            if (units.size() > 1) ++chained;
            for (int i = 0; i < 20 && file.size > 0; ++i) {
                const std::uint64_t offset = random() % file.size;
                const std::uint64_t end = lazy->part_end(offset);
                ASSERT_GT(end, offset);
                ASSERT_LE(end, file.size);
                EXPECT_EQ(lazy->unit_at(end - 1), lazy->unit_at(offset));
                if (end < file.size) {
                    EXPECT_NE(lazy->unit_at(end), lazy->unit_at(offset));
                }
            }
        }
    EXPECT_EQ(chained > 0, GetParam().has_maps);
}

// Whatever byte of what is stored is another one, what a unit gives is right or an error.
TEST_P(FixtureContent, ADamagedByteIsAnErrorAndNeverContent) {
    std::mt19937_64 random(test_seed());
    std::size_t refused = 0;
    for (int round = 0; round < 60; ++round) {
        const Manifest& manifest = manifests[random() % manifests.size()];
        const ManifestFile& file = manifest.files[random() % manifest.files.size()];
        if (file.size == 0) continue;
        const StoredLocation stored = locate("main", manifest, file);
        const std::string path = repository.storage->describe(stored.object);
        const std::uint64_t at = stored.range.offset_bytes + random() % file.repo_size;
        SCOPED_TRACE(manifest.label + " " + file.name + ", byte " + std::to_string(at) + ", seed " +
                     std::to_string(test_seed()));
        const auto flip = [&] {
            std::fstream object(path, std::ios::in | std::ios::out | std::ios::binary);
            object.seekg(static_cast<std::streamoff>(at));
            const char byte = static_cast<char>(object.get() ^ 0x10);
            object.seekp(static_cast<std::streamoff>(at));
            object.put(byte);
            ASSERT_TRUE(object.flush());
        };
        flip();
        const auto lazy = LazyFile::open(repository, "main", manifest, file);
        const auto content = lazy ? fetch_units(*lazy, shuffled_units(*lazy, random))
                                  : Result<std::string>(lazy.error());
        if (!content) {
            ++refused;
        } else {
            EXPECT_EQ(crypto::sha1_hex(*content), file.expected_checksum());
        }
        flip();
    }
    EXPECT_GT(refused, 0u);
}

INSTANTIATE_TEST_SUITE_P(All, FixtureContent, testing::ValuesIn(fixtures_at_hand()),
                         [](const testing::TestParamInfo<KnownFixture>& one) {
                             std::string name = one.param.archive + "_" + one.param.directory;
                             std::ranges::replace(name, '-', '_');
                             return name;
                         });

}  // namespace
}  // namespace chronos::repo
