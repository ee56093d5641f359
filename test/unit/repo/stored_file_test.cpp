#include "chronos/repo/stored_file.h"

#include <gmock/gmock.h>

#include <map>

#include "chronos/crypto/hash.h"
#include "info_samples.h"
#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint32_t kBlock = 8192;
const std::string kBlockFull = "20261120-084850F";
const std::string kBlockDiff = "20261120-084850F_20261120-084853D";

/// Objects in memory, and a list of what was read of them.
class MemoryObjects final : public storage::Storage {
public:
    std::map<std::string, std::string> objects;
    std::vector<std::string> reads;  ///< "object offset+size"

    storage::Features features() const override { return {}; }
    std::string describe(const storage::ObjectName& name) const override { return "mem:" + name; }
    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        reads.push_back(name + " " + std::to_string(range.offset_bytes) + "+" +
                        (range.size_bytes ? std::to_string(*range.size_bytes) : "all"));
        const auto found = objects.find(name);
        if (found == objects.end()) return Error(ErrorKind::not_found, "no " + name);
        const std::string_view content = found->second;
        if (range.offset_bytes > content.size())
            return Error(ErrorKind::file_read, "range is not covered");
        return std::make_unique<io::MemorySource>(
            content.substr(range.offset_bytes, range.size_bytes.value_or(SIZE_MAX)));
    }

    Result<std::unique_ptr<io::Sink>> create(const storage::ObjectName&,
                                             storage::WriteMode) override {
        return unused();
    }
    Result<std::optional<storage::Entry>> info(const storage::ObjectName&) override {
        return unused();
    }
    Result<std::vector<storage::Entry>> list(const storage::ObjectName&,
                                             const std::string&) override {
        return unused();
    }
    Result<std::vector<storage::Entry>> list_tree(const storage::ObjectName&) override {
        return unused();
    }
    Result<> remove(const storage::ObjectName&) override { return unused(); }
    Result<> remove_tree(const storage::ObjectName&) override { return unused(); }
    Result<> make_path(const storage::ObjectName&) override { return unused(); }
    Result<> make_link(const storage::ObjectName&, const std::string&) override { return unused(); }
    Result<> sync_tree(const storage::ObjectName&) override { return unused(); }

private:
    static Error unused() { return Error(ErrorKind::internal, "not a part of these tests"); }
};

/// A repository with one backup of a chain of two, whose objects the tests put there themselves.
class StoredFile : public testing::Test {
protected:
    StoredFile() {
        repository.storage = memory;
        manifest.label = kBlockDiff;
        manifest.references = {kBlockFull, kBlockDiff};
        manifest.options.compress_type = compress::CompressType::zst;
        file.name = "pg_data/base/1/2";
    }

    void encrypt() {
        repository.cipher = crypto::CipherType::aes_256_cbc;
        manifest.cipher_pass = "set passphrase";
    }

    /// As the format stores it: compressed, then encrypted if the repository is.
    std::string stored(std::string_view content, bool raw,
                       std::optional<compress::CompressType> type = std::nullopt) {
        io::MemorySink bytes;
        std::unique_ptr<io::Sink> encryptor;
        if (repository.encrypted())
            encryptor = crypto::make_encryptor(
                manifest.cipher_pass, raw ? crypto::CipherForm::raw : crypto::CipherForm::normal,
                bytes);
        const auto compressor = compress::make_compressor(
            type.value_or(manifest.options.compress_type), 1,
            raw ? compress::Form::raw : compress::Form::normal, encryptor ? *encryptor : bytes);
        EXPECT_OK(compressor->write(io::bytes(content)));
        EXPECT_OK(compressor->finish());
        return bytes.content;
    }

    Result<std::string> read_whole() {
        io::MemorySink content;
        CHRONOS_TRY(read_whole_file(repository, kStanza, manifest, file, content));
        EXPECT_TRUE(content.finished());
        return std::move(content.content);
    }

    /// The file's blocks as numbers in the order they came and as one content.
    struct Received {
        std::vector<std::uint64_t> numbers;
        std::string content;
    };
    Result<Received> read_map_and_blocks(const std::vector<bool>& wanted = {}) {
        const BlockMap map = CHRONOS_TRY(read_block_map(repository, kStanza, manifest, file));
        return read_some(map, wanted);
    }
    Result<Received> read_some(const BlockMap& map, const std::vector<bool>& wanted = {}) {
        Received received;
        received.content.resize(file.size, '?');
        CHRONOS_TRY(read_blocks(repository, kStanza, manifest, file, map, wanted,
                                [&](std::uint64_t number, io::Bytes content) -> Result<> {
                                    received.numbers.push_back(number);
                                    received.content.replace(number * kBlock, content.size(),
                                                             io::text(content));
                                    return {};
                                }));
        return received;
    }

    std::shared_ptr<MemoryObjects> memory = std::make_shared<MemoryObjects>();
    Repository repository;
    Manifest manifest;
    ManifestFile file;
};

TEST_F(StoredFile, IsLocatedByBundleReferenceAndCompression) {
    const std::string base = "backup/main/" + kBlockDiff + "/";
    file.repo_size = 123;
    EXPECT_EQ(locate(kStanza, manifest, file).object, base + "pg_data/base/1/2.zst");
    EXPECT_EQ(locate(kStanza, manifest, file).range.size_bytes, std::nullopt);
    manifest.options.compress_type = compress::CompressType::none;
    EXPECT_EQ(locate(kStanza, manifest, file).object, base + "pg_data/base/1/2");

    file.block_size = kBlock;  // stored whole all the same: it has no map
    EXPECT_EQ(locate(kStanza, manifest, file).object, base + "pg_data/base/1/2");
    file.block_map_size = 20;
    EXPECT_EQ(locate(kStanza, manifest, file).object, base + "pg_data/base/1/2.pgbi");

    file.reference = kBlockFull;
    file.bundle_id = 7;
    file.bundle_offset = 42;
    const StoredLocation bundled = locate(kStanza, manifest, file);
    EXPECT_EQ(bundled.object, "backup/main/" + kBlockFull + "/bundle/7");
    EXPECT_EQ(bundled.range.offset_bytes, 42u);
    EXPECT_EQ(bundled.range.size_bytes, 123u);
}

// In a raw set a file is raw inside a bundle and normal outside; the options of the day play no
// role. gz tells the forms apart, and so does the header of an encrypted object.
TEST_F(StoredFile, WholeFileIsReadInTheFormItsPlaceDemands) {
    manifest.options.compress_type = compress::CompressType::gz;
    const std::string content = random_text(300'000);
    file.size = content.size();
    for (const bool encrypted : {false, true}) {
        if (encrypted) encrypt();
        for (const bool raw_set : {false, true})
            for (const bool bundled : {false, true}) {
                SCOPED_TRACE(std::to_string(encrypted) + std::to_string(raw_set) +
                             std::to_string(bundled));
                manifest.bundle_raw = raw_set;
                const std::string bytes = stored(content, raw_set && bundled);
                file.bundle_id = bundled ? 1 : 0;
                file.bundle_offset = bundled ? 10 : 0;
                file.repo_size = bytes.size();
                memory->objects[locate(kStanza, manifest, file).object] =
                    bundled ? "0123456789" + bytes + "neighbour" : bytes;
                const auto read = read_whole();
                ASSERT_OK(read);
                EXPECT_TRUE(*read == content);
            }
    }
}

TEST_F(StoredFile, EmptyFileIsMadeWithoutReading) {
    file.reference = "20250101-000000F";  // a backup that has no such file
    const auto read = read_whole();
    ASSERT_OK(read);
    EXPECT_EQ(*read, "");
    EXPECT_TRUE(memory->reads.empty());
}

TEST_F(StoredFile, ErrorNamesFileAndObject) {
    file.size = 10;
    const auto missing = read_whole();
    EXPECT_ERROR(ErrorKind::not_found, missing);
    const std::string object = locate(kStanza, manifest, file).object;
    EXPECT_THAT(missing.error().message(), HasSubstr("'pg_data/base/1/2' from 'mem:" + object));

    memory->objects[object] = "not zstd at all";
    const auto damaged = read_whole();
    EXPECT_ERROR(ErrorKind::format, damaged);
    EXPECT_THAT(damaged.error().message(), HasSubstr("'pg_data/base/1/2' from 'mem:" + object));
    EXPECT_THAT(damaged.error().message(), HasSubstr("zst data is damaged"));
}

TEST_F(StoredFile, ContentOfAnotherLengthThanTheManifestSaysIsAChecksumError) {
    const std::string content = random_text(100'000);
    memory->objects[locate(kStanza, manifest, file).object] = stored(content, false);
    for (const std::uint64_t size : {99'999ull, 100'001ull, 1ull}) {
        file.size = size;
        EXPECT_ERROR(ErrorKind::checksum, read_whole());
    }
}

/// Has no space.
class FullDisk final : public io::Sink {
public:
    Result<> write(io::Bytes) override { return Error(ErrorKind::file_write, "no space"); }
    Result<> finish() override { return {}; }
};

TEST_F(StoredFile, ErrorOfTheReceiverIsNotBlamedOnTheRepository) {
    file.size = 5;
    memory->objects[locate(kStanza, manifest, file).object] = stored("12345", false);
    FullDisk disk;
    const auto result = read_whole_file(repository, kStanza, manifest, file, disk);
    EXPECT_ERROR(ErrorKind::file_write, result);
    EXPECT_EQ(result.error().message(), "no space");
}

TEST_F(StoredFile, EncryptedRepositoryNeedsThePassphraseOfTheManifest) {
    encrypt();
    file.size = 5;
    memory->objects[locate(kStanza, manifest, file).object] = stored("12345", false);
    manifest.cipher_pass = "";
    const auto read = read_whole();
    EXPECT_ERROR(ErrorKind::crypto, read);
    EXPECT_THAT(read.error().message(), HasSubstr("holds no passphrase"));
}

/// A file of five blocks and a half. The full has two super blocks of three blocks; the diff has
/// block 1 and the last, in one super block.
class BlockFile : public StoredFile {
protected:
    static constexpr std::size_t kSize = 5 * kBlock + 100;

    void SetUp() override {
        file.size = kSize;
        file.block_size = kBlock;
        file.block_checksum_size = 6;
        write();
    }

    /// Puts objects and map where the format has them.
    void write() {
        content = random_text(kSize);
        std::string old = content;
        for (std::size_t at = kBlock; at < 2 * kBlock; ++at) old[at] = 'x';
        const std::string first = stored(old.substr(0, 3 * kBlock), true);
        const std::string second = stored(old.substr(3 * kBlock), true);
        const std::string fresh =
            stored(content.substr(kBlock, kBlock) + content.substr(5 * kBlock), true);
        map.assign(6, {});
        for (std::size_t number = 0; number < 6; ++number) {
            BlockMapItem& item = map[number];
            const bool in_second = number >= 3;
            item.super_block_size = in_second ? 2 * kBlock + 100 : 3 * kBlock;
            item.offset = in_second ? first.size() : 0;
            item.size = in_second ? second.size() : first.size();
            item.position = number % 3;
        }
        map[1] = {1, kBlock + 100, 0, 0, fresh.size(), 0, {}};
        map[5] = {1, kBlock + 100, 0, 0, fresh.size(), 1, {}};
        memory->objects[full_object] = first + second;
        put_diff(fresh);
    }

    void put_diff(const std::string& super_blocks) {
        const std::string map_text =
            stored(format_block_map(map, {kBlock, 6}), true, compress::CompressType::none);
        file.block_map_size = map_text.size();
        file.repo_size = super_blocks.size() + map_text.size();
        memory->objects[diff_object] = super_blocks + map_text;
    }

    const std::string full_object = "backup/main/" + kBlockFull + "/pg_data/base/1/2.pgbi";
    const std::string diff_object = "backup/main/" + kBlockDiff + "/pg_data/base/1/2.pgbi";
    std::string content;
    BlockMap map;
};

TEST_F(BlockFile, IsPutTogetherFromEveryCodecEncryptedOrNot) {
    for (const bool encrypted : {false, true}) {
        if (encrypted) encrypt();
        for (const auto type :
             {compress::CompressType::none, compress::CompressType::gz, compress::CompressType::bz2,
              compress::CompressType::lz4, compress::CompressType::zst}) {
            SCOPED_TRACE(compress::compress_type_name(type));
            manifest.options.compress_type = type;
            write();
            const auto received = read_map_and_blocks();
            ASSERT_OK(received);
            EXPECT_TRUE(received->content == content);
        }
    }
}

TEST_F(BlockFile, IsReadNewestFirstAndSuperBlocksThatTouchInOneRead) {
    const auto received = read_some(map);
    ASSERT_OK(received);
    EXPECT_THAT(received->numbers, ElementsAre(1, 5, 0, 2, 3, 4));
    const std::string full_size = std::to_string(memory->objects[full_object].size());
    EXPECT_THAT(memory->reads, ElementsAre(diff_object + " 0+" + std::to_string(map[1].size),
                                           full_object + " 0+" + full_size));
}

TEST_F(BlockFile, OnlyWantedBlocksAreFetchedAndHandedOut) {
    const auto received = read_some(map, {false, false, false, false, true, false});
    ASSERT_OK(received);
    EXPECT_THAT(received->numbers, ElementsAre(4));
    EXPECT_EQ(received->content.substr(4 * kBlock, kBlock), content.substr(4 * kBlock, kBlock));
    EXPECT_THAT(memory->reads, ElementsAre(full_object + " " + std::to_string(map[3].offset) + "+" +
                                           std::to_string(map[3].size)));
    memory->reads.clear();
    ASSERT_OK(read_some(map, std::vector<bool>(6, false)));
    EXPECT_TRUE(memory->reads.empty());
}

TEST_F(BlockFile, SuperBlocksWithAGapBetweenThemAreReadApart) {
    memory->objects[full_object].insert(map[0].size, "gap");
    for (const std::size_t number : {3, 4}) map[number].offset += 3;
    const auto received = read_some(map);
    ASSERT_OK(received);
    EXPECT_TRUE(received->content == content);
    EXPECT_EQ(memory->reads.size(), 3u);
}

TEST_F(BlockFile, IsASmallFileAsOthersAre) {
    for (const bool encrypted : {false, true}) {
        if (encrypted) encrypt();
        write();
        file.checksum = crypto::sha1_hex(content);
        const auto read = read_small_file(repository, kStanza, manifest, file, kSize);
        ASSERT_OK(read);
        EXPECT_EQ(*read, content);
    }
    memory->reads.clear();
    EXPECT_ERROR(ErrorKind::file_read,
                 read_small_file(repository, kStanza, manifest, file, kSize - 1));
    EXPECT_TRUE(memory->reads.empty());
    file.checksum = crypto::sha1_hex(content + "x");
    EXPECT_ERROR(ErrorKind::checksum, read_small_file(repository, kStanza, manifest, file, kSize));
}

TEST_F(StoredFile, SmallFileIsReadWholeOrNotAtAll) {
    file.size = 3;
    file.checksum = crypto::sha1_hex("abc");
    memory->objects[locate(kStanza, manifest, file).object] = stored("abc", false);
    const auto read = read_small_file(repository, kStanza, manifest, file, 3);
    ASSERT_OK(read);
    EXPECT_EQ(*read, "abc");
    EXPECT_ERROR(ErrorKind::file_read, read_small_file(repository, kStanza, manifest, file, 2));
    file.size = 0;
    memory->objects.clear();
    const auto empty = read_small_file(repository, kStanza, manifest, file, 2);
    ASSERT_OK(empty);
    EXPECT_EQ(*empty, "");
}

TEST_F(BlockFile, LiesInABundleAtAnyOffset) {
    const std::string in_full = "backup/main/" + kBlockFull + "/bundle/3";
    const std::string in_diff = "backup/main/" + kBlockDiff + "/bundle/9";
    for (BlockMapItem& item : map) {
        item.bundle_id = item.reference == 0 ? 3 : 9;
        item.offset += item.reference == 0 ? 5 : 8;
    }
    const std::string fresh = memory->objects[diff_object].substr(0, map[1].size);
    put_diff(fresh);
    memory->objects[in_full] = "front" + memory->objects[full_object] + "back";
    memory->objects[in_diff] = "in front" + memory->objects[diff_object] + "behind";
    memory->objects.erase(full_object);
    memory->objects.erase(diff_object);
    file.bundle_id = 9;
    file.bundle_offset = 8;
    const auto received = read_map_and_blocks();
    ASSERT_OK(received);
    EXPECT_TRUE(received->content == content);
}

TEST_F(BlockFile, ErrorOfTheReceiverIsNotBlamedOnTheRepository) {
    const auto result = read_blocks(
        repository, kStanza, manifest, file, map, {},
        [](std::uint64_t, io::Bytes) -> Result<> { return Error(ErrorKind::file_write, "full"); });
    EXPECT_ERROR(ErrorKind::file_write, result);
    EXPECT_EQ(result.error().message(), "full");
}

/// The error of reading with `map`, which must be of this kind and name the file.
std::string map_error(const Result<std::uint64_t>& result, ErrorKind kind) {
    EXPECT_FALSE(static_cast<bool>(result));
    if (result) return "";
    EXPECT_EQ(result.error().kind(), kind) << result.error().message();
    EXPECT_THAT(result.error().message(), HasSubstr("pg_data/base/1/2"));
    return result.error().message();
}

TEST_F(BlockFile, MapThatDoesNotFitFileOrChainIsRefused) {
    const auto error = [&](const BlockMap& damaged, ErrorKind kind) {
        auto result = read_some(damaged);
        return map_error(result ? Result<std::uint64_t>(std::uint64_t{0})
                                : Result<std::uint64_t>(result.error()),
                         kind);
    };
    BlockMap damaged = map;
    damaged[0].reference = 2;
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr("chain of 2"));
    damaged = map;
    damaged.pop_back();
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr("5 blocks"));
    damaged = map;
    damaged[3].offset -= 1;
    damaged[4].offset -= 1;
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr("overlap"));
    damaged = map;
    damaged[2].size += 1;
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr("two sizes"));
    damaged = map;
    damaged[1].super_block_size = damaged[5].super_block_size = kBlock + 101;
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr("shorter"));
    damaged[1].super_block_size = damaged[5].super_block_size = kBlock + 99;
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr("longer"));
    damaged = map;
    std::swap(damaged[1].position, damaged[5].position);
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr("bytes instead of"));
    damaged = map;
    damaged[5].position = 2;
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr("outside"));
    damaged = map;
    damaged[1].size = damaged[5].size = std::uint64_t{1} << 60;
    EXPECT_THAT(error(damaged, ErrorKind::format), HasSubstr(diff_object));
}

TEST_F(BlockFile, MissingTailOfAnObjectIsAnError) {
    memory->objects[full_object].pop_back();
    const auto received = read_some(map);
    EXPECT_ERROR(ErrorKind::file_read, received);
    EXPECT_THAT(received.error().message(), HasSubstr(full_object));
}

TEST_F(BlockFile, DamagedStoredMapNamesFileAndObject) {
    for (const bool longer : {false, true}) {
        write();
        file.block_map_size += longer ? 1 : -1;
        const auto received = read_map_and_blocks();
        EXPECT_ERROR(ErrorKind::format, received);
        EXPECT_THAT(received.error().message(), HasSubstr("pg_data/base/1/2"));
        EXPECT_THAT(received.error().message(), HasSubstr(diff_object));
    }
    file.block_map_size = file.repo_size + 1;
    EXPECT_ERROR(ErrorKind::format, read_map_and_blocks());
}

/// Members of bundle 4 of the diff, 7 bytes that nobody wants in front of each.
class Run : public StoredFile {
protected:
    void add(const std::string& name, const std::string& content) {
        ManifestFile member;
        member.name = name;
        member.bundle_id = 4;
        member.bundle_offset = bundle.size() + 7;
        member.size = content.size();
        const std::string bytes = stored(content, manifest.bundle_raw);
        member.repo_size = bytes.size();
        bundle += "unread " + bytes;
        memory->objects[object] = bundle;
        members.push_back(member);
        contents.push_back(content);
    }
    Result<StoredRun> open() {
        return StoredRun::open(repository, kStanza, manifest, members.front(), members.back());
    }

    const std::string object = "backup/main/" + kBlockDiff + "/bundle/4";
    std::string bundle;
    std::vector<ManifestFile> members;
    std::vector<std::string> contents;
};

TEST_F(Run, GivesEachMemberOutOfOneRead) {
    for (const bool encrypted : {false, true}) {
        if (encrypted) encrypt();
        for (const bool raw : {false, true}) {
            manifest.bundle_raw = raw;
            bundle.clear();
            members.clear();
            contents.clear();
            for (const std::size_t size : {1ul, 300'000ul, 8192ul})
                add("pg_data/" + std::to_string(size), random_text(size));
            memory->reads.clear();
            auto run = open();
            ASSERT_OK(run);
            EXPECT_EQ(run->object(), object);
            for (std::size_t i = 0; i < members.size(); ++i) {
                io::MemorySink content;
                ASSERT_OK(run->go_to(members[i]));
                ASSERT_OK(run->read_whole(content));
                EXPECT_TRUE(content.finished());
                EXPECT_TRUE(content.content == contents[i]);
            }
            const std::size_t size = bundle.size() - 7;
            EXPECT_THAT(memory->reads, ElementsAre(object + " 7+" + std::to_string(size)));
        }
    }
}

TEST_F(Run, BundleThatEndsEarlyIsAnErrorAndNoShorterContent) {
    manifest.options.compress_type = compress::CompressType::none;
    add("pg_data/a", "content");
    add("pg_data/b", "content");
    memory->objects[object].pop_back();
    auto run = open();
    ASSERT_OK(run);
    for (const ManifestFile& member : members) {
        io::MemorySink content;
        ASSERT_OK(run->go_to(member));
        const auto read = run->read_whole(content);
        EXPECT_EQ(static_cast<bool>(read), &member == &members[0]);
        EXPECT_EQ(content.finished(), &member == &members[0]);
        if (read) continue;
        EXPECT_EQ(read.error().message(), "unexpected end of bundle");
    }
}

TEST_F(Run, IsNotReadWithoutThePassphraseOfTheManifest) {
    encrypt();
    add("pg_data/a", "content");
    manifest.cipher_pass.clear();
    EXPECT_ERROR(ErrorKind::crypto, open());
}

TEST_F(BlockFile, OutOfARunCostsNoRequestForWhatTheBundleHasOfIt) {
    const std::string object = "backup/main/" + kBlockDiff + "/bundle/9";
    for (BlockMapItem& item : map)
        if (item.reference == 1) {
            item.bundle_id = 9;
            item.offset += 8;
        }
    put_diff(memory->objects[diff_object].substr(0, map[1].size));
    memory->objects[object] = "in front" + memory->objects[diff_object] + "behind";
    file.bundle_id = 9;
    file.bundle_offset = 8;
    auto run = StoredRun::open(repository, kStanza, manifest, file, file);
    ASSERT_OK(run);
    ASSERT_OK(run->go_to(file));
    const auto at_hand = run->hold();
    ASSERT_OK(at_hand);
    repository = *at_hand;
    const auto received = read_map_and_blocks();
    ASSERT_OK(received);
    EXPECT_TRUE(received->content == content);
    EXPECT_EQ(std::ranges::count_if(
                  memory->reads, [&](const std::string& one) { return one.starts_with(object); }),
              1);
}

}  // namespace
}  // namespace chronos::repo
