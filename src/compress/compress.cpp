#include "chronos/compress/compress.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "compress/codecs.h"

namespace chronos::compress {
namespace {

struct TypeTraits {
    CompressType type;
    std::string_view name;
    std::string_view extension;
    int default_level;
    LevelRange levels;
};

// Source: docs/format/compression.md, Types.
constexpr std::array kTypes{
    TypeTraits{CompressType::none, "none", "", 0, {0, 0}},
    TypeTraits{CompressType::gz, "gz", ".gz", 6, {-1, 9}},
    TypeTraits{CompressType::bz2, "bz2", ".bz2", 9, {1, 9}},
    TypeTraits{CompressType::lz4, "lz4", ".lz4", 1, {-5, 12}},
    TypeTraits{CompressType::zst, "zst", ".zst", 3, {-7, 22}},
};

const TypeTraits& traits(CompressType type) {
    for (const TypeTraits& one : kTypes)
        if (one.type == type) return one;
    throw std::logic_error("unknown compression type");
}

class PassThrough final : public io::Sink {
public:
    explicit PassThrough(io::Sink& next) : next_(next) {}
    Result<> write(io::Bytes in) override { return next_.write(in); }
    Result<> finish() override { return next_.finish(); }

private:
    io::Sink& next_;
};

/// Fills memory that is there already.
class FixedSink final : public io::Sink {
public:
    explicit FixedSink(io::MutableBytes out) : out_(out) {}
    Result<> write(io::Bytes in) override {
        if (in.size() > out_.size() - size_)
            return Error(ErrorKind::internal, "no room for the compressed form");
        std::ranges::copy(in, out_.begin() + static_cast<std::ptrdiff_t>(size_));
        size_ += in.size();
        return {};
    }
    Result<> finish() override { return {}; }
    std::size_t size() const { return size_; }

private:
    io::MutableBytes out_;
    std::size_t size_ = 0;
};

void check_level(CompressType type, int level) {
    const LevelRange levels = compress_level_range(type);
    if (type != CompressType::none && (level < levels.min || level > levels.max))
        throw std::logic_error("compression level " + std::to_string(level) + " out of range");
}

}  // namespace

std::string_view compress_type_name(CompressType type) {
    return traits(type).name;
}

std::optional<CompressType> parse_compress_type(std::string_view name) {
    for (const TypeTraits& one : kTypes)
        if (one.name == name) return one.type;
    return std::nullopt;
}

std::string_view compress_extension(CompressType type) {
    return traits(type).extension;
}

CompressType compress_type_of_name(std::string_view file_name) {
    for (const TypeTraits& one : kTypes)
        if (!one.extension.empty() && file_name.ends_with(one.extension)) return one.type;
    return CompressType::none;
}

int default_compress_level(CompressType type) {
    return traits(type).default_level;
}

LevelRange compress_level_range(CompressType type) {
    return traits(type).levels;
}

std::unique_ptr<io::Sink> make_compressor(CompressType type, int level, Form form, io::Sink& next) {
    check_level(type, level);
    switch (type) {
        case CompressType::none: return std::make_unique<PassThrough>(next);
        case CompressType::gz: return make_gz_compressor(level, form, next);
        case CompressType::bz2: return make_bz2_compressor(level, next);
        case CompressType::lz4: return make_lz4_compressor(level, form, next);
        case CompressType::zst: return make_zst_compressor(level, next);
    }
    throw std::logic_error("unknown compression type");
}

bool can_look_near(CompressType type, int level) {
    return type == CompressType::zst && zst_can_look_near(level);
}

Result<std::size_t> compress_whole(CompressType type, int level, io::Bytes in, io::MutableBytes out,
                                   Reach reach) {
    check_level(type, level);
    if (reach == Reach::near && !can_look_near(type, level)) reach = Reach::of_level;
    if (type == CompressType::zst) return compress_whole_zst(level, reach, in, out);
    FixedSink sink(out);
    const auto stage = make_compressor(type, level, Form::normal, sink);
    if (!in.empty()) CHRONOS_TRY(stage->write(in));
    CHRONOS_TRY(stage->finish());
    return sink.size();
}

std::unique_ptr<io::Sink> make_decompressor(CompressType type, Form form, io::Sink& next) {
    switch (type) {
        case CompressType::none: return std::make_unique<PassThrough>(next);
        case CompressType::gz: return make_gz_decompressor(form, next);
        case CompressType::bz2: return make_bz2_decompressor(next);
        case CompressType::lz4: return make_lz4_decompressor(next);
        case CompressType::zst: return make_zst_decompressor(next);
    }
    throw std::logic_error("unknown compression type");
}

Error cut_short(CompressType type) {
    return Error(ErrorKind::format, std::string(compress_type_name(type)) +
                                        " data ends in the middle of the compressed stream");
}

Error damaged(CompressType type, std::string_view what) {
    return Error(ErrorKind::format,
                 std::string(compress_type_name(type)) + " data is damaged: " + std::string(what));
}

}  // namespace chronos::compress
