#include "chronos/crypto/hash.h"

#include "chronos/base/text.h"
#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::crypto {
namespace {

TEST(Sha1, GivesTheDigestsOfTheStandard) {
    EXPECT_EQ(sha1_hex(""), kSha1OfNothing);
    EXPECT_EQ(sha1_hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    EXPECT_EQ(sha1_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

TEST(Sha1, PiecesMakeTheSameDigestAsTheWhole) {
    const std::string content = random_bytes(100'000);
    Sha1 sha1;
    for (std::size_t at = 0; at < content.size(); at += 977)
        sha1.update(io::bytes(std::string_view(content).substr(at, 977)));
    EXPECT_EQ(sha1.hex(), sha1_hex(content));
}

TEST(Sha1Sink, CountsHashesAndPassesOn) {
    io::MemorySink memory;
    Sha1Sink sink(memory);
    ASSERT_OK(sink.write(io::bytes("ab")));
    ASSERT_OK(sink.write(io::bytes("c")));
    ASSERT_OK(sink.finish());
    EXPECT_TRUE(memory.finished());
    EXPECT_EQ(memory.content, "abc");
    EXPECT_EQ(sink.size(), 3u);
    EXPECT_EQ(sink.hex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

TEST(Xxh3, GivesTheCanonicalChecksumsOfBlockMaps) {
    const auto checksum = [](const std::string& content) {
        return to_hex(xxh3_128(io::bytes(content)));
    };
    const auto sevens = [](std::size_t size) {
        std::string content(size, '\0');
        for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 7);
        return content;
    };
    EXPECT_EQ(checksum(""), "99aa06d3014798d86001c324468d497f");
    EXPECT_EQ(checksum(std::string(8192, 'a')), "8e81ac548c3c2997576d333da56bb928");
    EXPECT_EQ(checksum(std::string(8192, '\0')), "6c8a36bd5451c725620797930ab0991a");
    EXPECT_EQ(checksum(sevens(8192)), "140ec4d176b24554123cf9563b488d3e");
    EXPECT_EQ(checksum(sevens(32768)), "4eeff439c5b6e1ea557de4cb845bed9e");
    EXPECT_EQ(checksum(std::string(100, 'i')), "c7ff84dbb12e3094384c5946e4c058d1");
}

}  // namespace
}  // namespace chronos::crypto
