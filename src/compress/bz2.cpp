#include <bzlib.h>

#include <algorithm>
#include <array>
#include <new>

#include "compress/codecs.h"

namespace chronos::compress {
namespace {

constexpr std::size_t kOutputSize = std::size_t{64} * 1024;
/// The library counts input in 32 bits.
constexpr std::size_t kSliceMax = std::size_t{1} << 30;

/// bzip2 cannot restart a context, so there is nothing to lease: a stage owns its own.
class Bz2Stage : public io::Sink {
public:
    Bz2Stage(const Bz2Stage&) = delete;
    Bz2Stage& operator=(const Bz2Stage&) = delete;

protected:
    explicit Bz2Stage(io::Sink& next) : next_(next) { rewind_output(); }
    ~Bz2Stage() override = default;

    void set_input(io::Bytes slice) {
        // The interface predates const, but the library only reads through next_in.
        stream_.next_in = const_cast<char*>(reinterpret_cast<const char*>(slice.data()));
        stream_.avail_in = static_cast<unsigned>(slice.size());
    }
    Result<> pass_on() {
        const std::size_t size = output_.size() - stream_.avail_out;
        const auto filled = std::as_bytes(std::span(output_)).first(size);
        rewind_output();
        return size == 0 ? Result<>() : next_.write(filled);
    }

    bz_stream stream_{};
    io::Sink& next_;

private:
    void rewind_output() {
        stream_.next_out = output_.data();
        stream_.avail_out = static_cast<unsigned>(output_.size());
    }

    std::array<char, kOutputSize> output_;
};

class Bz2Compressor final : public Bz2Stage {
public:
    Bz2Compressor(int level, io::Sink& next) : Bz2Stage(next) {
        constexpr int kQuiet = 0;
        constexpr int kDefaultWorkFactor = 0;
        if (BZ2_bzCompressInit(&stream_, level, kQuiet, kDefaultWorkFactor) != BZ_OK)
            throw std::bad_alloc();
    }
    ~Bz2Compressor() override { BZ2_bzCompressEnd(&stream_); }

    Result<> write(io::Bytes in) override {
        while (!in.empty()) {
            const io::Bytes slice = in.first(std::min(in.size(), kSliceMax));
            in = in.subspan(slice.size());
            set_input(slice);
            while (stream_.avail_in > 0) {
                if (BZ2_bzCompress(&stream_, BZ_RUN) != BZ_RUN_OK)
                    return Error(ErrorKind::internal, "bzip2 could not compress");
                if (stream_.avail_out == 0) CHRONOS_TRY(pass_on());
            }
        }
        return {};
    }

    Result<> finish() override {
        set_input({});
        for (;;) {
            const int code = BZ2_bzCompress(&stream_, BZ_FINISH);
            CHRONOS_TRY(pass_on());
            if (code == BZ_STREAM_END) return next_.finish();
            if (code != BZ_FINISH_OK)
                return Error(ErrorKind::internal, "bzip2 could not end a stream");
        }
    }
};

class Bz2Decompressor final : public Bz2Stage {
public:
    explicit Bz2Decompressor(io::Sink& next) : Bz2Stage(next) {
        constexpr int kQuiet = 0;
        constexpr int kFast = 0;
        if (BZ2_bzDecompressInit(&stream_, kQuiet, kFast) != BZ_OK) throw std::bad_alloc();
    }
    ~Bz2Decompressor() override { BZ2_bzDecompressEnd(&stream_); }

    Result<> write(io::Bytes in) override {
        while (!in.empty() && !ended_) {
            const io::Bytes slice = in.first(std::min(in.size(), kSliceMax));
            in = in.subspan(slice.size());
            set_input(slice);
            CHRONOS_TRY(run());
        }
        return {};
    }

    Result<> finish() override {
        return ended_ ? next_.finish() : Result<>(cut_short(CompressType::bz2));
    }

private:
    Result<> run() {
        bool full;
        do {
            const int code = BZ2_bzDecompress(&stream_);
            if (code == BZ_MEM_ERROR) throw std::bad_alloc();
            if (code != BZ_OK && code != BZ_STREAM_END)
                return damaged(CompressType::bz2,
                               code == BZ_DATA_ERROR_MAGIC ? "incorrect header" : "data error");
            ended_ = code == BZ_STREAM_END;
            full = stream_.avail_out == 0;
            CHRONOS_TRY(pass_on());
        } while (!ended_ && (stream_.avail_in > 0 || full));
        return {};
    }

    /// The end of the first stream; what follows is ignored, as the format's own reader does.
    bool ended_ = false;
};

}  // namespace

std::unique_ptr<io::Sink> make_bz2_compressor(int level, io::Sink& next) {
    return std::make_unique<Bz2Compressor>(level, next);
}

std::unique_ptr<io::Sink> make_bz2_decompressor(io::Sink& next) {
    return std::make_unique<Bz2Decompressor>(next);
}

}  // namespace chronos::compress
