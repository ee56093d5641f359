// Any bytes as compressed data: an error or a content, and the same one however the bytes are cut
// into writes. The first byte chooses the format.
#include <array>
#include <optional>

#include "chronos/compress/compress.h"
#include "fuzz.h"

namespace {

using namespace chronos;

/// Small enough that a bomb costs nothing, large enough for several output buffers.
constexpr std::size_t kContentMax = 1 << 20;

struct Outcome {
    std::optional<std::string> content;
    bool too_long = false;  ///< how much a bomb gives before it is stopped depends on the cuts
};

Outcome decompress(compress::CompressType type, compress::Form form, io::Bytes bytes,
                   std::size_t chunk) {
    io::MemorySink sink(kContentMax);
    const auto stage = compress::make_decompressor(type, form, sink);
    bool good = true;
    while (good && !bytes.empty()) {
        const io::Bytes piece = bytes.first(std::min(chunk, bytes.size()));
        bytes = bytes.subspan(piece.size());
        good = static_cast<bool>(stage->write(piece));
    }
    good = good && stage->finish();
    require(good == sink.finished());
    Outcome outcome;
    outcome.too_long = !good && sink.content.size() > kContentMax / 2;
    if (good) outcome.content = std::move(sink.content);
    return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using compress::CompressType;
    constexpr std::array kTypes{CompressType::gz, CompressType::bz2, CompressType::lz4,
                                CompressType::zst};
    if (size == 0) return 0;
    const CompressType type = kTypes[data[0] % kTypes.size()];
    const compress::Form form = data[0] & 0x80 ? compress::Form::raw : compress::Form::normal;
    const io::Bytes bytes = std::as_bytes(std::span(data, size)).subspan(1);
    const Outcome whole = decompress(type, form, bytes, SIZE_MAX);
    for (const std::size_t chunk : {1ul, 7ul}) {
        const Outcome pieces = decompress(type, form, bytes, chunk);
        if (whole.too_long || pieces.too_long) continue;
        require(whole.content == pieces.content);
    }
    return 0;
}
