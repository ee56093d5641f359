#include <zstd.h>

#include <new>
#include <string>

#include "compress/codecs.h"
#include "compress/lease.h"

namespace chronos::compress {
namespace {

/// Contexts of the high levels hold up to hundreds of MiB: they go back to the system.
constexpr std::size_t kKeptSizeMax = std::size_t{16} * 1024 * 1024;

/// In a database what repeats is near: in the same page or the ones beside it. At the default level
/// tables half and an eighth of their size find it in 0.65 to 0.85 of the time, because they stay
/// in the processor's cache, and write 0.97 to 1.01 of the bytes, because a near match has the
/// shorter code (tables of pgbench, of numbers, JSON, texts and random bytes, their indexes,
/// catalogs).
/// For streams, which are the contents of backups: of a WAL segment its maker decides (Reach).
constexpr int kTunedLevel = 3;
constexpr int kTunedHashLog = 16;
constexpr int kTunedChainLog = 13;

struct ZstCompressContext {
    explicit ZstCompressContext(int wanted_level)
        : level(wanted_level), context(ZSTD_createCCtx()) {
        if (context == nullptr) throw std::bad_alloc();
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
        if (level == kTunedLevel) {
            ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, kTunedHashLog);
            ZSTD_CCtx_setParameter(context, ZSTD_c_chainLog, kTunedChainLog);
        }
        output.resize(ZSTD_CStreamOutSize());
    }
    ~ZstCompressContext() { ZSTD_freeCCtx(context); }
    ZstCompressContext(const ZstCompressContext&) = delete;
    ZstCompressContext& operator=(const ZstCompressContext&) = delete;

    bool fits(int wanted_level) const { return level == wanted_level; }
    void restart() { ZSTD_CCtx_reset(context, ZSTD_reset_session_only); }
    bool worth_keeping() const { return ZSTD_sizeof_CCtx(context) <= kKeptSizeMax; }

    int level;
    ZSTD_CCtx* context;
    std::string output;
};

class ZstCompressor final : public io::Sink {
public:
    ZstCompressor(int level, io::Sink& next) : next_(next), context_(level) {}

    // Input never comes together with ZSTD_e_end: zstd would take it for the whole content and
    // write its size into the frame header, which the format's own writer does not do.
    Result<> write(io::Bytes in) override { return pump(in, ZSTD_e_continue); }
    Result<> finish() override {
        CHRONOS_TRY(pump({}, ZSTD_e_end));
        return next_.finish();
    }

private:
    Result<> pump(io::Bytes in, ZSTD_EndDirective mode) {
        // Nothing to do, and a first call without input would fix the frame header.
        if (in.empty() && mode == ZSTD_e_continue) return {};
        std::string& output = context_->output;
        ZSTD_inBuffer source{in.data(), in.size(), 0};
        for (;;) {
            ZSTD_outBuffer target{output.data(), output.size(), 0};
            const std::size_t unflushed =
                ZSTD_compressStream2(context_->context, &target, &source, mode);
            if (ZSTD_isError(unflushed))
                return Error(ErrorKind::internal,
                             std::string("zstd: ") + ZSTD_getErrorName(unflushed));
            if (target.pos > 0)
                CHRONOS_TRY(next_.write(io::bytes(std::string_view(output).substr(0, target.pos))));
            // While more input is to come, zstd may keep a tail to itself; only at the end must
            // everything be out, which can take several rounds for a single call.
            if (mode == ZSTD_e_end ? unflushed == 0 : source.pos == source.size) return {};
        }
    }

    io::Sink& next_;
    Lease<ZstCompressContext> context_;
};

/// Tables that stay in the processor's first cache, in place of those of the level.
constexpr int kNearHashLog = 14;
constexpr int kNearMatchMin = 6;

/// For contents in memory. Their size is known and would be written into the frame header, which
/// the format's own writer does not do; it does for an empty file, so that a stream keeps the flag.
struct ZstWholeContext {
    ZstWholeContext(int wanted_level, Reach wanted_reach)
        : level(wanted_level), reach(wanted_reach), context(ZSTD_createCCtx()) {
        if (context == nullptr) throw std::bad_alloc();
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
        ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
        if (reach == Reach::of_level) return;
        ZSTD_CCtx_setParameter(context, ZSTD_c_strategy, ZSTD_fast);
        ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, kNearHashLog);
        ZSTD_CCtx_setParameter(context, ZSTD_c_minMatch, kNearMatchMin);
    }
    ~ZstWholeContext() { ZSTD_freeCCtx(context); }
    ZstWholeContext(const ZstWholeContext&) = delete;
    ZstWholeContext& operator=(const ZstWholeContext&) = delete;

    bool fits(int wanted_level, Reach wanted_reach) const {
        return level == wanted_level && reach == wanted_reach;
    }
    void restart() { ZSTD_CCtx_reset(context, ZSTD_reset_session_only); }
    bool worth_keeping() const { return ZSTD_sizeof_CCtx(context) <= kKeptSizeMax; }

    int level;
    Reach reach;
    ZSTD_CCtx* context;
};

struct ZstDecompressContext {
    ZstDecompressContext() : context(ZSTD_createDCtx()) {
        // Source: docs/format/compression.md, What readers accept: 128 MiB is read, more is
        // refused.
        constexpr int kWindowLogMax = 27;
        if (context == nullptr) throw std::bad_alloc();
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, kWindowLogMax);
        output.resize(ZSTD_DStreamOutSize());
    }
    ~ZstDecompressContext() { ZSTD_freeDCtx(context); }
    ZstDecompressContext(const ZstDecompressContext&) = delete;
    ZstDecompressContext& operator=(const ZstDecompressContext&) = delete;

    bool fits() const { return true; }
    void restart() { ZSTD_DCtx_reset(context, ZSTD_reset_session_only); }
    bool worth_keeping() const { return ZSTD_sizeof_DCtx(context) <= kKeptSizeMax; }

    ZSTD_DCtx* context;
    std::string output;
};

class ZstDecompressor final : public io::Sink {
public:
    explicit ZstDecompressor(io::Sink& next) : next_(next) {}

    Result<> write(io::Bytes in) override {
        std::string& output = context_->output;
        ZSTD_inBuffer source{in.data(), in.size(), 0};
        bool full = false;
        while (source.pos < source.size || (full && !frame_complete_)) {
            ZSTD_outBuffer target{output.data(), output.size(), 0};
            const std::size_t code = ZSTD_decompressStream(context_->context, &target, &source);
            if (ZSTD_isError(code)) return damaged(CompressType::zst, ZSTD_getErrorName(code));
            frame_complete_ = code == 0;
            full = target.pos == target.size;
            if (target.pos > 0)
                CHRONOS_TRY(next_.write(io::bytes(std::string_view(output).substr(0, target.pos))));
        }
        return {};
    }

    Result<> finish() override {
        return frame_complete_ ? next_.finish() : Result<>(cut_short(CompressType::zst));
    }

private:
    io::Sink& next_;
    Lease<ZstDecompressContext> context_;
    bool frame_complete_ = false;
};

}  // namespace

std::unique_ptr<io::Sink> make_zst_compressor(int level, io::Sink& next) {
    return std::make_unique<ZstCompressor>(level, next);
}

bool zst_can_look_near(int level) {
    // Of the levels below, the tables are small anyway; those above were chosen for the last byte.
    return level >= 2 && level <= 4;
}

Result<std::size_t> compress_whole_zst(int level, Reach reach, io::Bytes in, io::MutableBytes out) {
    const Lease<ZstWholeContext> context(level, reach);
    const std::size_t size =
        ZSTD_compress2(context->context, out.data(), out.size(), in.data(), in.size());
    if (!ZSTD_isError(size)) return size;
    return Error(ErrorKind::internal, std::string("zstd: ") + ZSTD_getErrorName(size));
}

std::unique_ptr<io::Sink> make_zst_decompressor(io::Sink& next) {
    return std::make_unique<ZstDecompressor>(next);
}

}  // namespace chronos::compress
