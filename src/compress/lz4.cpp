#include <lz4frame.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "compress/codecs.h"
#include "compress/lease.h"

namespace chronos::compress {
namespace {

/// Input a call: with linked blocks each call saves 64 KiB of history, so calls are large.
constexpr std::size_t kLz4SliceMax = std::size_t{256} * 1024;
constexpr std::size_t kLz4OutputSize = std::size_t{256} * 1024;

LZ4F_preferences_t preferences(int level, Form form) {
    LZ4F_preferences_t result{};
    result.frameInfo.blockSizeID = LZ4F_max64KB;
    result.frameInfo.blockMode = LZ4F_blockLinked;
    result.frameInfo.contentChecksumFlag =
        form == Form::raw ? LZ4F_noContentChecksum : LZ4F_contentChecksumEnabled;
    result.compressionLevel = level;
    return result;
}

struct Lz4CompressContext {
    Lz4CompressContext() {
        if (LZ4F_isError(LZ4F_createCompressionContext(&context, LZ4F_VERSION)))
            throw std::bad_alloc();
        const LZ4F_preferences_t worst = preferences(0, Form::normal);
        output.resize(LZ4F_compressBound(kLz4SliceMax, &worst) + LZ4F_HEADER_SIZE_MAX);
    }
    ~Lz4CompressContext() { LZ4F_freeCompressionContext(context); }
    Lz4CompressContext(const Lz4CompressContext&) = delete;
    Lz4CompressContext& operator=(const Lz4CompressContext&) = delete;

    bool fits() const { return true; }
    void restart() {}  // LZ4F_compressBegin() forgets the former frame
    bool worth_keeping() const { return true; }

    LZ4F_cctx* context = nullptr;
    std::string output;
};

class Lz4Compressor final : public io::Sink {
public:
    Lz4Compressor(int level, Form form, io::Sink& next)
        : next_(next), preferences_(preferences(level, form)) {}

    Result<> write(io::Bytes in) override {
        CHRONOS_TRY(begin());
        while (!in.empty()) {
            const io::Bytes slice = in.first(std::min(in.size(), kLz4SliceMax));
            in = in.subspan(slice.size());
            CHRONOS_TRY(pass_on(LZ4F_compressUpdate(context_->context, free_output(), free_size(),
                                                    slice.data(), slice.size(), nullptr)));
        }
        return {};
    }

    Result<> finish() override {
        CHRONOS_TRY(begin());
        CHRONOS_TRY(
            pass_on(LZ4F_compressEnd(context_->context, free_output(), free_size(), nullptr)));
        return next_.finish();
    }

private:
    char* free_output() { return context_->output.data() + held_; }
    std::size_t free_size() const { return context_->output.size() - held_; }

    /// Puts the frame header in front of the first output, so that a small file is one write.
    Result<> begin() {
        if (begun_) return {};
        begun_ = true;
        const std::size_t size =
            LZ4F_compressBegin(context_->context, free_output(), free_size(), &preferences_);
        if (LZ4F_isError(size)) return failure(size);
        held_ = size;
        return {};
    }
    Result<> pass_on(std::size_t produced) {
        if (LZ4F_isError(produced)) return failure(produced);
        // Nothing yet but the header: LZ4 collects input until a block of 64 KiB is full.
        if (produced == 0) return {};
        const std::size_t size = held_ + produced;
        held_ = 0;
        return next_.write(io::bytes(std::string_view(context_->output.data(), size)));
    }
    static Error failure(std::size_t code) {
        return Error(ErrorKind::internal, std::string("lz4: ") + LZ4F_getErrorName(code));
    }

    io::Sink& next_;
    LZ4F_preferences_t preferences_;
    Lease<Lz4CompressContext> context_;
    std::size_t held_ = 0;  ///< bytes of the frame header not passed on yet
    bool begun_ = false;
};

struct Lz4DecompressContext {
    Lz4DecompressContext() {
        if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)))
            throw std::bad_alloc();
    }
    ~Lz4DecompressContext() { LZ4F_freeDecompressionContext(context); }
    Lz4DecompressContext(const Lz4DecompressContext&) = delete;
    Lz4DecompressContext& operator=(const Lz4DecompressContext&) = delete;

    bool fits() const { return true; }
    void restart() { LZ4F_resetDecompressionContext(context); }
    bool worth_keeping() const { return true; }

    LZ4F_dctx* context = nullptr;
    std::array<std::byte, kLz4OutputSize> output;
};

class Lz4Decompressor final : public io::Sink {
public:
    explicit Lz4Decompressor(io::Sink& next) : next_(next) {}

    Result<> write(io::Bytes in) override {
        bool full = false;
        while (!in.empty() || full) {
            std::size_t consumed = in.size();
            std::size_t produced = context_->output.size();
            const std::size_t code = LZ4F_decompress(context_->context, context_->output.data(),
                                                     &produced, in.data(), &consumed, nullptr);
            if (LZ4F_isError(code)) return damaged(CompressType::lz4, LZ4F_getErrorName(code));
            in = in.subspan(consumed);
            full = produced == context_->output.size();
            frame_complete_ = code == 0;
            if (produced > 0) CHRONOS_TRY(next_.write(std::span(context_->output).first(produced)));
            // A call without input behind the end of a frame would begin to wait for the next one.
            if (frame_complete_ && in.empty()) break;
        }
        return {};
    }

    Result<> finish() override {
        return frame_complete_ ? next_.finish() : Result<>(cut_short(CompressType::lz4));
    }

private:
    io::Sink& next_;
    Lease<Lz4DecompressContext> context_;
    bool frame_complete_ = false;
};

}  // namespace

std::unique_ptr<io::Sink> make_lz4_compressor(int level, Form form, io::Sink& next) {
    return std::make_unique<Lz4Compressor>(level, form, next);
}

std::unique_ptr<io::Sink> make_lz4_decompressor(io::Sink& next) {
    return std::make_unique<Lz4Decompressor>(next);
}

}  // namespace chronos::compress
