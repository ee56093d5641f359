#include "chronos/repo/encoding.h"

#include <gmock/gmock.h>

#include <random>
#include <tuple>

#include "chronos/repo/manifest.h"
#include "memory_storage.h"
#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::repo {
namespace {

using compress::CompressType;
using compress::Form;

/// `content` through `stage` in pieces of random size, some of them empty.
Result<> feed(io::Sink& stage, std::string_view content, std::mt19937_64& engine) {
    const std::size_t sizes[] = {1, 17, 4096, 100'000, 1u << 20};
    while (!content.empty()) {
        const std::size_t size = engine() % (sizes[engine() % std::size(sizes)] + 1);
        const std::string_view piece = content.substr(0, size);
        CHRONOS_TRY(stage.write(io::bytes(piece)));
        content.remove_prefix(piece.size());
    }
    return stage.finish();
}

/// Counts how often it is told that all is there.
class FinishCounter final : public io::Sink {
public:
    Result<> write(io::Bytes) override { return {}; }
    Result<> finish() override {
        ++finished;
        return {};
    }
    int finished = 0;
};

using EncodingCase = std::tuple<CompressType, const char*, Form>;

class Encodings : public testing::TestWithParam<EncodingCase> {
protected:
    Encodings() {
        const auto& [type, passphrase, form] = GetParam();
        encoding = set_encoding(type, compress::default_compress_level(type), passphrase);
        encoding.form = form;
    }

    std::string stored(std::string_view content) {
        io::MemorySink bytes;
        Encoder encoder(encoding, bytes);
        EXPECT_OK(feed(encoder, content, engine));
        EXPECT_TRUE(bytes.finished());
        return bytes.content;
    }
    Result<std::string> read(std::string_view bytes, const Encoding& with) {
        io::MemorySink content(std::size_t{64} << 20);
        Decoder decoder(with, content);
        CHRONOS_TRY(feed(decoder, bytes, engine));
        EXPECT_TRUE(content.finished());
        return std::move(content.content);
    }

    Encoding encoding;
    std::mt19937_64 engine{test_seed()};
};

TEST_P(Encodings, GiveBackWhatTheyTook) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{16},
                                   std::size_t{engine() % 300'000}, std::size_t{1} << 20}) {
        SCOPED_TRACE("seed " + std::to_string(test_seed()) + ", size " + std::to_string(size));
        for (const std::string& content :
             {random_bytes(size, engine()), random_text(size, engine())}) {
            const std::string bytes = stored(content);
            EXPECT_EQ(bytes == content, !encoding.transforms());
            const auto plain = read(bytes, encoding);
            ASSERT_OK(plain);
            EXPECT_TRUE(*plain == content);
        }
    }
}

// Which of two stages finds it out depends on what comes out of the cipher; what is only encrypted
// may pass by chance, because padding is all that the cipher has to tell by.
TEST_P(Encodings, WrongPassphraseShowsOrGivesSomethingElse) {
    if (!encoding.encrypted()) return;
    SCOPED_TRACE("seed " + std::to_string(test_seed()));
    const std::string content = random_text(100'000, engine());
    Encoding wrong = encoding;
    wrong.passphrase.emplace("another passphrase");
    const auto plain = read(stored(content), wrong);
    if (plain)
        EXPECT_FALSE(*plain == content);
    else
        EXPECT_THAT(plain.error().kind(), testing::AnyOf(ErrorKind::crypto, ErrorKind::format));
}

TEST_P(Encodings, WhatIsCutShortIsNoContent) {
    SCOPED_TRACE("seed " + std::to_string(test_seed()));
    const std::string content = random_text(50'000, engine());
    const std::string bytes = stored(content);
    for (int i = 0; i < 20; ++i) {
        const std::size_t size = engine() % bytes.size();
        SCOPED_TRACE(std::to_string(size) + " of " + std::to_string(bytes.size()));
        const auto plain = read(std::string_view(bytes).substr(0, size), encoding);
        if (!encoding.transforms()) {
            ASSERT_OK(plain);
            EXPECT_EQ(*plain, content.substr(0, size));
            continue;
        }
        // Cut at a whole cipher block, the end of what is left may be taken for padding.
        if (plain && encoding.compress_type == CompressType::none)
            EXPECT_NE(*plain, content);
        else
            EXPECT_THAT(plain ? ErrorKind::internal : plain.error().kind(),
                        testing::AnyOf(ErrorKind::crypto, ErrorKind::format));
    }
}

// docs/format/compression.md, What readers accept.
TEST_P(Encodings, TrailingBytesAreRefusedWhereTheFormatRefusesThem) {
    SCOPED_TRACE("seed " + std::to_string(test_seed()));
    const std::string content = random_text(50'000, engine());
    const auto plain = read(stored(content) + "tail", encoding);
    if (encoding.encrypted()) {
        // Not whole cipher blocks; what they are decrypted to may be refused before that shows.
        ASSERT_FALSE(static_cast<bool>(plain));
        EXPECT_THAT(plain.error().kind(), testing::AnyOf(ErrorKind::crypto, ErrorKind::format));
        return;
    }
    switch (encoding.compress_type) {
        case CompressType::none:
            ASSERT_OK(plain);
            EXPECT_EQ(*plain, content + "tail");
            return;
        case CompressType::gz:
        case CompressType::bz2:
            ASSERT_OK(plain);
            EXPECT_EQ(*plain, content);
            return;
        case CompressType::lz4:
        case CompressType::zst: EXPECT_ERROR(ErrorKind::format, plain); return;
    }
}

TEST_P(Encodings, WhatWasNotFinishedIsNotFinishedBehindThem) {
    FinishCounter next;
    {
        Encoder encoder(encoding, next);
        ASSERT_OK(encoder.write(io::bytes("content")));
        const std::string bytes = stored("content");
        Decoder decoder(encoding, next);
        ASSERT_OK(decoder.write(io::bytes(bytes)));
    }
    EXPECT_EQ(next.finished, 0);
    Encoder encoder(encoding, next);
    ASSERT_OK(encoder.finish());
    EXPECT_EQ(next.finished, 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, Encodings,
    testing::Combine(testing::Values(CompressType::none, CompressType::gz, CompressType::bz2,
                                     CompressType::lz4, CompressType::zst),
                     testing::Values("", "a passphrase"), testing::Values(Form::normal, Form::raw)),
    [](const auto& tested) {
        return std::string(compress::compress_type_name(std::get<0>(tested.param))) +
               (*std::get<1>(tested.param) == '\0' ? "Plain" : "Encrypted") +
               (std::get<2>(tested.param) == Form::raw ? "Raw" : "Normal");
    });

/// Where encodings come from.
class EncodingOf : public testing::Test {
protected:
    EncodingOf() { manifest.options.compress_type = CompressType::zst; }

    void encrypt() {
        repository.cipher = crypto::CipherType::aes_256_cbc;
        manifest.cipher_pass = "set passphrase";
    }

    Repository repository;
    Manifest manifest;
    ManifestFile file;
};

TEST_F(EncodingOf, MemberOfABundleIsRawIfTheManifestSaysSo) {
    manifest.bundle_raw = true;
    EXPECT_EQ(file_encoding(repository, manifest, file).value().form, Form::normal);
    file.bundle_id = 1;
    EXPECT_EQ(file_encoding(repository, manifest, file).value().form, Form::raw);
    manifest.bundle_raw = false;
    EXPECT_EQ(file_encoding(repository, manifest, file).value().form, Form::normal);
    EXPECT_EQ(file_encoding(repository, manifest, file).value().compress_type, CompressType::zst);
}

TEST_F(EncodingOf, BlocksAndTheirMapAreAlwaysRawAndTheMapIsNeverCompressed) {
    EXPECT_EQ(super_block_encoding(repository, manifest).value().form, Form::raw);
    EXPECT_EQ(super_block_encoding(repository, manifest).value().compress_type, CompressType::zst);
    EXPECT_EQ(block_map_encoding(repository, manifest).value().form, Form::raw);
    EXPECT_EQ(block_map_encoding(repository, manifest).value().compress_type, CompressType::none);
}

TEST_F(EncodingOf, ContentOfAnEncryptedSetHasItsPassphraseOrNoEncodingAtAll) {
    EXPECT_FALSE(file_encoding(repository, manifest, file).value().encrypted());
    encrypt();
    EXPECT_EQ(file_encoding(repository, manifest, file).value().passphrase->secret(),
              "set passphrase");
    manifest.cipher_pass.clear();
    EXPECT_ERROR(ErrorKind::crypto, file_encoding(repository, manifest, file));
    EXPECT_ERROR(ErrorKind::crypto, super_block_encoding(repository, manifest));
    EXPECT_ERROR(ErrorKind::crypto, block_map_encoding(repository, manifest));
}

// A text may be read before its passphrase is known; WAL is never stored without one.
TEST_F(EncodingOf, WalOfAnEncryptedRepositoryIsNeverPlain) {
    EXPECT_FALSE(wal_encoding(repository, "", CompressType::zst).encrypted());
    EXPECT_FALSE(text_encoding(repository, "pass").encrypted());
    encrypt();
    EXPECT_TRUE(wal_encoding(repository, "", CompressType::zst).encrypted());
    EXPECT_FALSE(text_encoding(repository, "").encrypted());
    EXPECT_TRUE(text_encoding(repository, "pass").encrypted());
    EXPECT_EQ(text_encoding(repository, "pass").form, Form::normal);
}

TEST_F(EncodingOf, RangeOfAnObjectIsDecoded) {
    const auto memory = std::make_shared<test::MemoryStorage>();
    repository.storage = memory;
    encrypt();
    const Encoding encoding = super_block_encoding(repository, manifest).value();
    io::MemorySink member;
    {
        Encoder encoder(encoding, member);
        ASSERT_OK(encoder.write(io::bytes("content")));
        ASSERT_OK(encoder.finish());
    }
    ASSERT_OK(storage::write_object(*memory, "bundle", "front" + member.content + "back"));
    io::MemorySink content;
    ASSERT_OK(decode_object(repository, "bundle", encoding, content, {5, member.content.size()}));
    EXPECT_TRUE(content.finished());
    EXPECT_EQ(content.content, "content");
    EXPECT_ERROR(ErrorKind::crypto, decode_object(repository, "bundle", encoding, content,
                                                  {5, member.content.size() - 1}));
}

}  // namespace
}  // namespace chronos::repo
