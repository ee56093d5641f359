#include <isa-l/igzip_lib.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>

#include "compress/codecs.h"
#include "compress/lease.h"

// zlib compresses, because levels and ratios must be those people know; ISA-L decompresses,
// because it reads the same streams at a multiple of zlib's speed and checks the same trailers.
namespace chronos::compress {
namespace {

constexpr std::size_t kGzOutputSize = std::size_t{128} * 1024;
/// The libraries count input in 32 bits.
constexpr std::size_t kGzSliceMax = std::size_t{1} << 30;

struct DeflateContext {
    DeflateContext(int wanted_level, Form wanted_form) : level(wanted_level), form(wanted_form) {
        constexpr int kWindowBits = 15;
        constexpr int kGzipWrapper = 16;
        constexpr int kMemoryLevel = 8;
        const int bits = form == Form::raw ? kWindowBits : kWindowBits + kGzipWrapper;
        if (deflateInit2(&stream, level, Z_DEFLATED, bits, kMemoryLevel, Z_DEFAULT_STRATEGY) !=
            Z_OK)
            throw std::bad_alloc();
    }
    ~DeflateContext() { deflateEnd(&stream); }
    DeflateContext(const DeflateContext&) = delete;
    DeflateContext& operator=(const DeflateContext&) = delete;

    bool fits(int wanted_level, Form wanted_form) const {
        return level == wanted_level && form == wanted_form;
    }
    void restart() { deflateReset(&stream); }
    bool worth_keeping() const { return true; }

    int level;
    Form form;
    z_stream stream{};
    std::array<Bytef, kGzOutputSize> output;
};

class GzCompressor final : public io::Sink {
public:
    GzCompressor(int level, Form form, io::Sink& next) : next_(next), context_(level, form) {
        context_->stream.avail_in = 0;
        rewind_output();
    }

    Result<> write(io::Bytes in) override {
        z_stream& stream = context_->stream;
        while (!in.empty()) {
            const io::Bytes slice = in.first(std::min(in.size(), kGzSliceMax));
            in = in.subspan(slice.size());
            // zlib's interface predates const, but it only reads through next_in.
            stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(slice.data()));
            stream.avail_in = static_cast<uInt>(slice.size());
            while (stream.avail_in > 0) {
                if (deflate(&stream, Z_NO_FLUSH) != Z_OK)
                    return Error(ErrorKind::internal, "zlib could not compress");
                if (stream.avail_out == 0) CHRONOS_TRY(pass_on());
            }
        }
        return {};
    }

    Result<> finish() override {
        for (;;) {
            const int code = deflate(&context_->stream, Z_FINISH);
            CHRONOS_TRY(pass_on());
            if (code == Z_STREAM_END) return next_.finish();
            if (code != Z_OK) return Error(ErrorKind::internal, "zlib could not end a stream");
        }
    }

private:
    void rewind_output() {
        context_->stream.next_out = context_->output.data();
        context_->stream.avail_out = static_cast<uInt>(context_->output.size());
    }
    Result<> pass_on() {
        const std::size_t size = context_->output.size() - context_->stream.avail_out;
        const auto filled = std::as_bytes(std::span(context_->output)).first(size);
        rewind_output();
        return size == 0 ? Result<>() : next_.write(filled);
    }

    io::Sink& next_;
    Lease<DeflateContext> context_;
};

struct InflateContext {
    bool fits() const { return true; }
    void restart() {}
    bool worth_keeping() const { return true; }

    inflate_state state;  // begun by each stage: it depends on the form
    std::array<std::uint8_t, kGzOutputSize> output;
};

std::string_view inflate_error_text(int code) {
    switch (code) {
        case ISAL_INVALID_BLOCK: return "invalid block";
        case ISAL_INVALID_SYMBOL: return "invalid symbol";
        case ISAL_INVALID_LOOKBACK: return "distance too far back";
        case ISAL_INVALID_WRAPPER: return "incorrect header";
        case ISAL_UNSUPPORTED_METHOD: return "unknown compression method";
        case ISAL_INCORRECT_CHECKSUM: return "content does not match its own checksum";
        case ISAL_NEED_DICT: return "a preset dictionary is needed";
        default: return "unexpected answer of the decoder";
    }
}

/// Header, deflate data, trailer. The header is read by calls of our own: left to isal_inflate(),
/// it is lost where a write ends among its optional fields.
class GzDecompressor final : public io::Sink {
public:
    GzDecompressor(Form form, io::Sink& next) : form_(form), next_(next) {
        isal_inflate_init(&context_->state);
        // "No header, but verify the trailer".
        context_->state.crc_flag = form == Form::raw ? ISAL_ZLIB_NO_HDR_VER : ISAL_GZIP_NO_HDR_VER;
        isal_gzip_header_init(&gzip_header_);
    }

    Result<> write(io::Bytes in) override {
        while (!in.empty() && !ended()) {
            const io::Bytes slice = in.first(std::min(in.size(), kGzSliceMax));
            in = in.subspan(slice.size());
            // ISA-L's interface has no const, but it only reads through next_in.
            context_->state.next_in =
                const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(slice.data()));
            context_->state.avail_in = static_cast<std::uint32_t>(slice.size());
            if (!header_read_) CHRONOS_TRY(read_header());
            if (header_read_) CHRONOS_TRY(inflate_slice());
        }
        return {};
    }

    Result<> finish() override {
        return ended() ? next_.finish() : Result<>(cut_short(CompressType::gz));
    }

private:
    /// The end of the first member; what follows is ignored, as the format's own reader does.
    bool ended() const { return context_->state.block_state == ISAL_BLOCK_FINISH; }

    Result<> read_header() {
        const int code = form_ == Form::raw
                             ? isal_read_zlib_header(&context_->state, &zlib_header_)
                             : isal_read_gzip_header(&context_->state, &gzip_header_);
        if (code == ISAL_END_INPUT) return {};
        if (code != ISAL_DECOMP_OK) return damaged(CompressType::gz, inflate_error_text(code));
        if (form_ == Form::raw && zlib_header_.dict_flag != 0)
            return damaged(CompressType::gz, inflate_error_text(ISAL_NEED_DICT));
        header_read_ = true;
        return {};
    }

    Result<> inflate_slice() {
        inflate_state& state = context_->state;
        do {
            state.next_out = context_->output.data();
            state.avail_out = static_cast<std::uint32_t>(context_->output.size());
            const int code = isal_inflate(&state);
            if (code != ISAL_DECOMP_OK) return damaged(CompressType::gz, inflate_error_text(code));
            const std::size_t size = context_->output.size() - state.avail_out;
            if (size > 0)
                CHRONOS_TRY(next_.write(std::as_bytes(std::span(context_->output)).first(size)));
        } while (!ended() && (state.avail_in > 0 || state.avail_out == 0));
        return {};
    }

    Form form_;
    io::Sink& next_;
    Lease<InflateContext> context_;
    isal_gzip_header gzip_header_{};
    isal_zlib_header zlib_header_{};
    bool header_read_ = false;
};

}  // namespace

std::unique_ptr<io::Sink> make_gz_compressor(int level, Form form, io::Sink& next) {
    return std::make_unique<GzCompressor>(level, form, next);
}

std::unique_ptr<io::Sink> make_gz_decompressor(Form form, io::Sink& next) {
    return std::make_unique<GzDecompressor>(form, next);
}

}  // namespace chronos::compress
