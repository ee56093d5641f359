#include "chronos/compress/compress.h"

#include <bzlib.h>
#include <gmock/gmock.h>
#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

#include "chronos/base/text.h"
#include "random_bytes.h"
#include "result_matchers.h"

namespace chronos::compress {
namespace {

constexpr CompressType kAll[] = {CompressType::none, CompressType::gz, CompressType::bz2,
                                 CompressType::lz4, CompressType::zst};
constexpr CompressType kReal[] = {CompressType::gz, CompressType::bz2, CompressType::lz4,
                                  CompressType::zst};
constexpr Form kForms[] = {Form::normal, Form::raw};

std::string from_hex_text(std::string_view text) {
    std::string digits(text);
    std::erase(digits, ' ');
    return std::string(io::text(from_hex(digits).value()));
}

/// `content` through `stage` in pieces of `chunk` bytes.
Result<> feed(io::Sink& stage, std::string_view content, std::size_t chunk = SIZE_MAX) {
    while (!content.empty()) {
        const std::string_view piece = content.substr(0, chunk);
        CHRONOS_TRY(stage.write(io::bytes(piece)));
        content.remove_prefix(piece.size());
    }
    return stage.finish();
}

std::string stored(CompressType type, int level, Form form, std::string_view content,
                   std::size_t chunk = SIZE_MAX) {
    io::MemorySink sink;
    EXPECT_OK(feed(*make_compressor(type, level, form, sink), content, chunk));
    EXPECT_TRUE(sink.finished());
    return sink.content;
}

std::string stored(CompressType type, Form form, std::string_view content) {
    return stored(type, default_compress_level(type), form, content);
}

Result<std::string> read_back(CompressType type, Form form, std::string_view bytes,
                              std::size_t chunk = SIZE_MAX) {
    io::MemorySink sink;
    CHRONOS_TRY(feed(*make_decompressor(type, form, sink), bytes, chunk));
    EXPECT_TRUE(sink.finished());
    return std::move(sink.content);
}

#define EXPECT_CONTENT(expected, ...)                                                  \
    do {                                                                               \
        const auto& chronos_read_ = (__VA_ARGS__);                                     \
        ASSERT_TRUE(static_cast<bool>(chronos_read_)) << chronos_read_.error().text(); \
        EXPECT_TRUE(chronos_read_.value() == (expected))                               \
            << "content differs, size " << chronos_read_.value().size();               \
    } while (false)

TEST(CompressType, NamesExtensionsAndLevelsAreThoseOfTheFormat) {
    for (const CompressType type : kAll)
        EXPECT_EQ(parse_compress_type(compress_type_name(type)), type);
    EXPECT_EQ(parse_compress_type("xz"), std::nullopt);
    EXPECT_EQ(compress_extension(CompressType::none), "");
    EXPECT_EQ(compress_extension(CompressType::zst), ".zst");
    EXPECT_EQ(compress_type_of_name("pg_data/PG_VERSION.gz"), CompressType::gz);
    EXPECT_EQ(compress_type_of_name("a.lz4"), CompressType::lz4);
    EXPECT_EQ(compress_type_of_name("a.bz2"), CompressType::bz2);
    EXPECT_EQ(compress_type_of_name("a.gz.tmp"), CompressType::none);
    EXPECT_EQ(compress_type_of_name("gz"), CompressType::none);
    EXPECT_EQ(default_compress_level(CompressType::gz), 6);
    EXPECT_EQ(default_compress_level(CompressType::lz4), 1);
    EXPECT_EQ(default_compress_level(CompressType::zst), 3);
    EXPECT_EQ(default_compress_level(CompressType::bz2), 9);
    EXPECT_EQ(compress_level_range(CompressType::zst).min, -7);
    EXPECT_EQ(compress_level_range(CompressType::lz4).max, 12);
}

// The framing of the format's own writer, byte for byte: one digit stored too much or a flag set
// differently shows here, whatever the libraries make of the content.
TEST(Compressor, FramesTenBytesExactlyAsTheFormatDoes) {
    struct Vector {
        CompressType type;
        Form form;
        std::string_view hex;
    };
    const Vector vectors[] = {
        {CompressType::none, Form::normal, "30313233343536373839"},
        {CompressType::gz, Form::normal,
         "1f8b0800000000000003 3330343236313533b7b004 00 c6c784a6 0a000000"},
        {CompressType::gz, Form::raw, "789c 3330343236313533b7b00400 0aff020e"},
        {CompressType::lz4, Form::normal,
         "04224d1844405e 0a000080 30313233343536373839 00000000 0a9c0c95"},
        {CompressType::lz4, Form::raw, "04224d184040c0 0a000080 30313233343536373839 00000000"},
        {CompressType::zst, Form::normal, "28b52ffd0058 510000 30313233343536373839"},
        {CompressType::zst, Form::raw, "28b52ffd0058 510000 30313233343536373839"},
    };
    for (const Vector& one : vectors) {
        SCOPED_TRACE(compress_type_name(one.type));
        const std::string expected = from_hex_text(one.hex);
        const std::string bytes = stored(one.type, one.form, "0123456789");
        EXPECT_EQ(to_hex(std::as_bytes(std::span(bytes))),
                  to_hex(std::as_bytes(std::span(expected))));
        EXPECT_CONTENT("0123456789", read_back(one.type, one.form, expected));
    }
    for (const Form form : kForms) {
        const std::string bz2 = stored(CompressType::bz2, form, "0123456789");
        EXPECT_EQ(bz2.size(), 45u);
        EXPECT_TRUE(bz2.starts_with(from_hex_text("425a6839314159265359 96b0e4e0")));
    }
}

TEST(Compressor, HeadersShowTheLevelAsTheFormatDoes) {
    const auto gz_flags = [](int level) {
        return static_cast<unsigned char>(stored(CompressType::gz, level, Form::normal, "x")[8]);
    };
    EXPECT_EQ(gz_flags(9), 2);
    EXPECT_EQ(gz_flags(0), 4);
    EXPECT_EQ(gz_flags(6), 0);
    EXPECT_EQ(gz_flags(-1), 0);
    EXPECT_EQ(stored(CompressType::zst, -7, Form::normal, "x")[5], '\x48');
    EXPECT_EQ(stored(CompressType::zst, 3, Form::normal, "x")[5], '\x58');
    EXPECT_EQ(stored(CompressType::zst, 22, Form::normal, "x")[5], '\x88');
    EXPECT_EQ(stored(CompressType::bz2, 1, Form::normal, "x")[3], '1');
}

TEST(Compressor, EmptyFileHasTheSizeOfTheFormat) {
    const std::pair<CompressType, std::size_t> sizes[] = {{CompressType::none, 0},
                                                          {CompressType::gz, 20},
                                                          {CompressType::lz4, 15},
                                                          {CompressType::zst, 9},
                                                          {CompressType::bz2, 14}};
    for (const auto& [type, size] : sizes) {
        const std::string bytes = stored(type, Form::normal, "");
        EXPECT_EQ(bytes.size(), size) << compress_type_name(type);
        EXPECT_CONTENT("", read_back(type, Form::normal, bytes));
    }
    EXPECT_EQ(stored(CompressType::zst, Form::normal, ""), from_hex_text("28b52ffd 2000 010000"));
}

// One byte short of whole blocks of every codec, and incompressible, is the largest tail finish()
// can be left with: round sizes pass even when that tail is dropped. The contexts are reused from
// one case to the next, so a leftover of the former stream would show as well.
TEST(Compressor, ContentSurvivesAnyChunking) {
    const std::string contents[] = {random_bytes((1 << 20) - 1), random_text(700'001),
                                    std::string(1 << 20, '\0')};
    for (const CompressType type : kAll)
        for (const Form form : kForms)
            for (const std::string& content : contents)
                for (const std::size_t chunk : {997ul, 65536ul, content.size()}) {
                    SCOPED_TRACE(std::string(compress_type_name(type)) + ", chunk " +
                                 std::to_string(chunk));
                    const std::string bytes =
                        stored(type, compress_level_range(type).min, form, content, chunk);
                    EXPECT_CONTENT(content, read_back(type, form, bytes, chunk));
                    EXPECT_CONTENT(content, read_back(type, form, bytes));
                }
}

TEST(Compressor, EveryLevelCanBeReadBack) {
    const std::string content = random_text(30'000);
    for (const CompressType type : kReal)
        for (int level = compress_level_range(type).min; level <= compress_level_range(type).max;
             ++level)
            EXPECT_CONTENT(
                content, read_back(type, Form::normal, stored(type, level, Form::normal, content)));
}

Result<std::string> whole(CompressType type, int level, std::string_view content,
                          std::size_t room) {
    std::string out(room, '\0');
    out.resize(CHRONOS_TRY(
        compress_whole(type, level, io::bytes(content), std::as_writable_bytes(std::span(out)))));
    return out;
}

TEST(CompressWhole, WritesTheFormOfTheStage) {
    for (const CompressType type : kAll)
        for (const std::string& content : {random_bytes((4 << 20) + 1, 3), random_text(700'001),
                                           std::string(4 << 20, '\0'), std::string()}) {
            SCOPED_TRACE(compress_type_name(type));
            const int level = default_compress_level(type);
            const Result<std::string> bytes = whole(type, level, content, 5 << 20);
            ASSERT_OK(bytes);
            EXPECT_CONTENT(content, read_back(type, Form::normal, *bytes));
            const std::string staged = stored(type, level, Form::normal, content);
            EXPECT_LE(bytes->size(), staged.size() + staged.size() / 100);
            // No content size and no checksum in it, and the window of the level.
            if (content.size() > (2U << 20) && type == CompressType::zst) {
                EXPECT_EQ(bytes->substr(0, 6), staged.substr(0, 6));
            }
        }
}

TEST(CompressWhole, SaysWhenThereIsNoRoom) {
    for (const CompressType type : kAll)
        EXPECT_ERROR(ErrorKind::internal,
                     whole(type, default_compress_level(type), random_bytes(5000), 4000));
}

TEST(Decompressor, ReadsByteByByte) {
    const std::string content = random_text(5'000);
    for (const CompressType type : kReal)
        for (const Form form : kForms)
            EXPECT_CONTENT(content, read_back(type, form, stored(type, form, content), 1));
}

/// Fails every write but the first `good` ones.
class FailingSink final : public io::Sink {
public:
    explicit FailingSink(int good) : good_(good) {}
    Result<> write(io::Bytes) override {
        if (good_-- > 0) return {};
        return Error(ErrorKind::file_write, "no space left");
    }
    Result<> finish() override { return Error(ErrorKind::file_close, "cannot close"); }

private:
    int good_;
};

TEST(Compressor, ErrorOfTheNextStageComesBackAndTheNextFileIsWhole) {
    const std::string content = random_bytes(600'000);
    for (const CompressType type : kAll) {
        SCOPED_TRACE(compress_type_name(type));
        const int level = compress_level_range(type).min;
        for (const int good : {0, 1}) {
            FailingSink full(good);
            EXPECT_ERROR(ErrorKind::file_write,
                         feed(*make_compressor(type, level, Form::normal, full), content, 100'000));
            // With the context that the failure left in the middle of a stream.
            EXPECT_CONTENT("x",
                           read_back(type, Form::normal, stored(type, level, Form::normal, "x")));
        }
        FailingSink unclosable(1000);
        EXPECT_ERROR(ErrorKind::file_close,
                     feed(*make_compressor(type, level, Form::normal, unclosable), "x"));
        const std::string bytes = stored(type, level, Form::normal, content);
        FailingSink full(0);
        EXPECT_ERROR(ErrorKind::file_write,
                     feed(*make_decompressor(type, Form::normal, full), bytes));
        EXPECT_CONTENT(content, read_back(type, Form::normal, bytes));
    }
}

// Every prefix, so that each field of header and trailer is cut at each byte.
TEST(Decompressor, TruncatedDataIsAFormatError) {
    const std::string content = random_text(300);
    for (const CompressType type : kReal)
        for (const Form form : kForms) {
            const std::string bytes = stored(type, form, content);
            for (std::size_t size = 0; size < bytes.size(); ++size) {
                SCOPED_TRACE(std::string(compress_type_name(type)) + " cut to " +
                             std::to_string(size));
                EXPECT_ERROR(ErrorKind::format,
                             read_back(type, form, std::string_view(bytes).substr(0, size)));
            }
        }
}

/// Flips one bit of each byte in turn; the result must be an error or the same content.
void expect_damage_to_be_seen(CompressType type, Form form, const std::string& bytes,
                              std::string_view content) {
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        std::string broken = bytes;
        broken[at] = static_cast<char>(broken[at] ^ 0x10);
        const auto read = read_back(type, form, broken);
        if (read)
            EXPECT_TRUE(*read == content) << compress_type_name(type) << " byte " << at;
        else
            EXPECT_EQ(read.error().kind(), ErrorKind::format);
    }
}

// Of the forms with a checksum; the others rely on the checksum of the manifest.
TEST(Decompressor, AnyFlippedByteIsSeenWhereTheFormHasAChecksum) {
    const std::string content = random_text(3000);
    for (const CompressType type : {CompressType::gz, CompressType::bz2, CompressType::lz4})
        expect_damage_to_be_seen(type, Form::normal, stored(type, Form::normal, content), content);
    expect_damage_to_be_seen(CompressType::gz, Form::raw,
                             stored(CompressType::gz, Form::raw, content), content);
}

TEST(GzDecompressor, TrailerIsChecked) {
    const std::string bytes = stored(CompressType::gz, Form::normal, "0123456789");
    for (std::size_t from_end = 1; from_end <= 8; ++from_end) {
        std::string broken = bytes;
        broken[broken.size() - from_end] ^= 1;
        EXPECT_ERROR(ErrorKind::format, read_back(CompressType::gz, Form::normal, broken));
        EXPECT_ERROR(ErrorKind::format, read_back(CompressType::gz, Form::normal, broken, 1));
    }
    const std::string raw = stored(CompressType::gz, Form::raw, "0123456789");
    for (std::size_t from_end = 1; from_end <= 4; ++from_end) {
        std::string broken = raw;
        broken[broken.size() - from_end] ^= 1;
        EXPECT_ERROR(ErrorKind::format, read_back(CompressType::gz, Form::raw, broken));
    }
}

TEST(GzDecompressor, OneFormIsNotTakenForTheOther) {
    EXPECT_ERROR(ErrorKind::format, read_back(CompressType::gz, Form::normal,
                                              stored(CompressType::gz, Form::raw, "content")));
    EXPECT_ERROR(ErrorKind::format, read_back(CompressType::gz, Form::raw,
                                              stored(CompressType::gz, Form::normal, "content")));
}

/// A gzip member with all optional fields of the header.
std::string gz_with_full_header(std::string_view content, bool header_checksum) {
    z_stream stream{};
    deflateInit2(&stream, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    std::string name = "some name", comment = "some comment", extra = "extra field";
    gz_header header{};
    header.time = 1'700'000'000;
    header.name = reinterpret_cast<Bytef*>(name.data());
    header.comment = reinterpret_cast<Bytef*>(comment.data());
    header.extra = reinterpret_cast<Bytef*>(extra.data());
    header.extra_len = static_cast<uInt>(extra.size());
    header.hcrc = header_checksum ? 1 : 0;
    deflateSetHeader(&stream, &header);
    std::string bytes(content.size() + 1000, '\0');
    std::string input(content);
    stream.next_in = reinterpret_cast<Bytef*>(input.data());
    stream.avail_in = static_cast<uInt>(input.size());
    stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
    stream.avail_out = static_cast<uInt>(bytes.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    bytes.resize(stream.total_out);
    deflateEnd(&stream);
    return bytes;
}

TEST(GzDecompressor, AcceptsNameTimeAndOtherHeaderFields) {
    const std::string content = random_text(10'000);
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, SIZE_MAX})
        for (const bool header_checksum : {false, true}) {
            SCOPED_TRACE("chunk " + std::to_string(chunk));
            EXPECT_CONTENT(content,
                           read_back(CompressType::gz, Form::normal,
                                     gz_with_full_header(content, header_checksum), chunk));
        }
}

TEST(Decompressor, WhatFollowsTheFirstGzMemberOrBz2StreamIsIgnored) {
    for (const CompressType type : {CompressType::gz, CompressType::bz2}) {
        const std::string one = stored(type, Form::normal, "first");
        for (const std::size_t chunk : {std::size_t{1}, SIZE_MAX}) {
            EXPECT_CONTENT("first", read_back(type, Form::normal, one + one, chunk));
            EXPECT_CONTENT("first", read_back(type, Form::normal, one + "garbage", chunk));
        }
    }
}

std::string zst_with(std::string_view content, ZSTD_cParameter parameter, int value) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    EXPECT_FALSE(ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)));
    ZSTD_inBuffer in{content.data(), content.size(), 0};
    std::string bytes(ZSTD_compressBound(content.size()) + 100, '\0');
    ZSTD_outBuffer out{bytes.data(), bytes.size(), 0};
    // Continue first: else the window shrinks to the content.
    if (parameter == ZSTD_c_windowLog) ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
    EXPECT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
    bytes.resize(out.pos);
    ZSTD_freeCCtx(context);
    return bytes;
}

TEST(ZstDecompressor, AcceptsChecksumSizeAndWindowsUpTo128MiB) {
    const std::string content = random_text(200'000);
    const std::string with_checksum = zst_with(content, ZSTD_c_checksumFlag, 1);
    EXPECT_CONTENT(content, read_back(CompressType::zst, Form::normal, with_checksum));
    EXPECT_CONTENT(content, read_back(CompressType::zst, Form::normal,
                                      zst_with(content, ZSTD_c_contentSizeFlag, 1)));
    EXPECT_CONTENT(content, read_back(CompressType::zst, Form::normal,
                                      zst_with(content, ZSTD_c_windowLog, 27)));
    std::string broken = with_checksum;
    broken.back() ^= 1;
    EXPECT_ERROR(ErrorKind::format, read_back(CompressType::zst, Form::normal, broken));
}

TEST(ZstDecompressor, RefusesALargerWindow) {
    const auto read = read_back(CompressType::zst, Form::normal,
                                zst_with(random_text(1000), ZSTD_c_windowLog, 28));
    EXPECT_ERROR(ErrorKind::format, read);
    EXPECT_THAT(read.error().message(), testing::HasSubstr("too much memory"));
}

TEST(Decompressor, SeveralZstAndLz4FramesAreOneContent) {
    for (const CompressType type : {CompressType::zst, CompressType::lz4}) {
        const std::string first = stored(type, Form::normal, "first ");
        const std::string second = stored(type, Form::raw, "second");
        for (const std::size_t chunk : {std::size_t{1}, SIZE_MAX})
            EXPECT_CONTENT("first second", read_back(type, Form::normal, first + second, chunk));
        // A whole frame does not hide that the next one is cut.
        EXPECT_ERROR(ErrorKind::format,
                     read_back(type, Form::normal, first + second.substr(0, second.size() - 1)));
    }
}

TEST(Decompressor, TrailingGarbageBehindZstAndLz4FramesIsAnError) {
    for (const CompressType type : {CompressType::zst, CompressType::lz4})
        for (const std::string garbage : {"x", "garbage that is longer than a header"})
            EXPECT_ERROR(ErrorKind::format,
                         read_back(type, Form::normal, stored(type, Form::normal, "a") + garbage));
}

std::string lz4_with(std::string_view content, const LZ4F_preferences_t& preferences) {
    std::string bytes(LZ4F_compressFrameBound(content.size(), &preferences), '\0');
    const std::size_t size = LZ4F_compressFrame(bytes.data(), bytes.size(), content.data(),
                                                content.size(), &preferences);
    EXPECT_FALSE(LZ4F_isError(size));
    bytes.resize(size);
    return bytes;
}

TEST(Lz4Decompressor, AcceptsEveryKindOfFrame) {
    const std::string content = random_text(9 << 20);
    for (const LZ4F_blockSizeID_t block : {LZ4F_max64KB, LZ4F_max4MB})
        for (const LZ4F_blockMode_t mode : {LZ4F_blockLinked, LZ4F_blockIndependent})
            for (const bool checks : {false, true}) {
                LZ4F_preferences_t preferences{};
                preferences.frameInfo.blockSizeID = block;
                preferences.frameInfo.blockMode = mode;
                if (checks) {
                    preferences.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
                    preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
                    preferences.frameInfo.contentSize = content.size();
                }
                EXPECT_CONTENT(content, read_back(CompressType::lz4, Form::normal,
                                                  lz4_with(content, preferences), 100'003));
            }
}

TEST(Lz4Decompressor, RefusesTheLegacyFrame) {
    EXPECT_ERROR(ErrorKind::format,
                 read_back(CompressType::lz4, Form::normal,
                           from_hex_text("02214c18 0b000000 a0") + "0123456789"));
}

}  // namespace
}  // namespace chronos::compress
