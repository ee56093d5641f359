#include "chronos/crypto/cipher.h"

#include <gmock/gmock.h>
#include <openssl/evp.h>

#include <set>

#include "chronos/base/text.h"
#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::crypto {
namespace {

constexpr std::string_view kPass = "fixture-repo-pass-d";
constexpr CipherForm kForms[] = {CipherForm::normal, CipherForm::raw};

std::string from_hex_text(std::string_view text) {
    std::string digits(text);
    std::erase(digits, ' ');
    return std::string(io::text(from_hex(digits).value()));
}

Result<> feed(io::Sink& stage, std::string_view content, std::size_t chunk) {
    while (!content.empty()) {
        const std::string_view piece = content.substr(0, chunk);
        CHRONOS_TRY(stage.write(io::bytes(piece)));
        content.remove_prefix(piece.size());
    }
    return stage.finish();
}

std::string encrypted(std::string_view content, CipherForm form, std::size_t chunk = SIZE_MAX) {
    io::MemorySink sink;
    EXPECT_OK(feed(*make_encryptor(kPass, form, sink), content, chunk));
    EXPECT_TRUE(sink.finished());
    return sink.content;
}

Result<std::string> decrypted(std::string_view bytes, CipherForm form,
                              std::string_view passphrase = kPass, std::size_t chunk = SIZE_MAX) {
    io::MemorySink sink;
    CHRONOS_TRY(feed(*make_decryptor(passphrase, form, sink), bytes, chunk));
    EXPECT_TRUE(sink.finished());
    return std::move(sink.content);
}

// PG_VERSION.lz4 of the fixture lz4-aes-tblspc and its set passphrase, as docs/format/ciphers.md
// prints them.
TEST(Decryptor, OpensAFileThePgBackRestWrote) {
    const std::string bytes = from_hex_text(
        "53616c7465645f5f 82a3e1b5b7f9cb7b"
        "ee7bfb6c539950cd688da7f87dce46abf5aeb464f6037e6374c8e342207c534c");
    const auto content =
        decrypted(bytes, CipherForm::normal,
                  "8X8JKnJAB9GWuXKZ33fG8kAa7pnzBYZPtQgMOz6JmlCHZry869ekAWf4XZYWknTD");
    ASSERT_OK(content);
    EXPECT_EQ(to_hex(io::bytes(*content)), "04224d1844405e0300008031350a0000000092841dab");
}

// The reference gives key and IV for this salt: what an independent AES makes of them must open.
TEST(Decryptor, DerivesKeyAndIvAsTheFormatDoes) {
    const std::string key =
        from_hex_text("87949c7eec940a3426d5254f7898b516d1e525ad6aa9cecd94095828ea186417");
    const std::string iv = from_hex_text("712deaa4f4e056bbfbc44e2428e717cf");
    EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex(context, EVP_aes_256_cbc(), nullptr,
                       reinterpret_cast<const unsigned char*>(key.data()),
                       reinterpret_cast<const unsigned char*>(iv.data()));
    const std::string text = "thirty-two bytes and a short tail";
    std::string cipher(64, '\0');
    int size = 0, tail = 0;
    EVP_EncryptUpdate(context, reinterpret_cast<unsigned char*>(cipher.data()), &size,
                      reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
    EVP_EncryptFinal_ex(context, reinterpret_cast<unsigned char*>(cipher.data()) + size, &tail);
    EVP_CIPHER_CTX_free(context);
    cipher.resize(static_cast<std::size_t>(size + tail));

    const auto content = decrypted(from_hex_text("ca9d40a785cbd8f0") + cipher, CipherForm::raw);
    ASSERT_OK(content);
    EXPECT_EQ(*content, text);
}

TEST(Encryptor, SizesAndHeaderAreThoseOfTheFormat) {
    for (const std::size_t size : {0ul, 1ul, 15ul, 16ul, 17ul, 100'000ul}) {
        const std::string content(size, 'x');
        const std::size_t blocks = 16 * (size / 16 + 1);
        const std::string normal = encrypted(content, CipherForm::normal);
        EXPECT_EQ(normal.size(), 16 + blocks);
        EXPECT_TRUE(normal.starts_with("Salted__"));
        EXPECT_EQ(encrypted(content, CipherForm::raw).size(), 8 + blocks);
    }
}

TEST(Encryptor, EveryObjectHasItsOwnSalt) {
    std::set<std::string> salts;
    for (int i = 0; i < 100; ++i) salts.insert(encrypted("", CipherForm::raw).substr(0, 8));
    EXPECT_EQ(salts.size(), 100u);
}

TEST(Encryptor, ContentSurvivesAnyChunking) {
    const std::string content = random_bytes(300'001);
    for (const CipherForm form : kForms)
        for (const std::size_t chunk : {1ul, 15ul, 16ul, 4093ul, 65536ul, content.size()}) {
            SCOPED_TRACE(chunk);
            const auto read = decrypted(encrypted(content, form, chunk), form, kPass, chunk);
            ASSERT_OK(read);
            EXPECT_TRUE(*read == content);
        }
}

/// The error of reading `bytes`, checked to be of kind crypto.
std::string crypto_error(std::string_view bytes, CipherForm form,
                         std::string_view passphrase = kPass) {
    const auto read = decrypted(bytes, form, passphrase);
    EXPECT_FALSE(static_cast<bool>(read));
    if (read) return "";
    EXPECT_EQ(read.error().kind(), ErrorKind::crypto);
    return read.error().message();
}

TEST(Decryptor, EachFailureHasItsOwnMessage) {
    const std::string bytes = encrypted("content", CipherForm::normal);
    EXPECT_THAT(crypto_error("", CipherForm::normal), testing::HasSubstr("header missing"));
    EXPECT_THAT(crypto_error(bytes.substr(0, 15), CipherForm::normal),
                testing::HasSubstr("header missing"));
    EXPECT_THAT(crypto_error(bytes.substr(0, 7), CipherForm::raw),
                testing::HasSubstr("header missing"));
    EXPECT_THAT(crypto_error("[backrest]\nbackrest-format=5\n", CipherForm::normal),
                testing::HasSubstr("header invalid"));
    EXPECT_THAT(crypto_error(bytes.substr(0, 16), CipherForm::normal),
                testing::HasSubstr("cut short"));
    EXPECT_THAT(crypto_error(bytes.substr(0, 31), CipherForm::normal),
                testing::HasSubstr("cut short"));
}

// One wrong passphrase in 256 leaves a padding that fits by chance: the content is then garbage,
// and the test takes another salt.
TEST(Decryptor, WrongPassphraseShowsAsPadding) {
    int seen = 0;
    for (int i = 0; i < 20; ++i) {
        const auto read =
            decrypted(encrypted("content", CipherForm::raw), CipherForm::raw, "wrong");
        if (read) {
            EXPECT_NE(*read, "content");
            continue;
        }
        ++seen;
        EXPECT_EQ(read.error().kind(), ErrorKind::crypto);
        EXPECT_THAT(read.error().message(), testing::HasSubstr("padding"));
        EXPECT_THAT(read.error().text(), testing::Not(testing::HasSubstr("wrong\n")));
    }
    EXPECT_GT(seen, 10);
}

TEST(GeneratePassphrase, Is64Base64CharactersAndNew) {
    const std::string one = generate_passphrase();
    EXPECT_EQ(one.size(), 64u);
    EXPECT_EQ(one.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789+/"),
              std::string::npos);
    EXPECT_NE(one, generate_passphrase());
}

TEST(RandomHex8, IsEightLowerCaseDigits) {
    const std::string one = random_hex8();
    EXPECT_EQ(one.size(), 8u);
    EXPECT_EQ(one.find_first_not_of("0123456789abcdef"), std::string::npos);
}

}  // namespace
}  // namespace chronos::crypto
