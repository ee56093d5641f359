#include "chronos/io/stream.h"

#include <algorithm>
#include <cstring>

namespace chronos::io {

Result<> MemorySink::write(Bytes in) {
    if (in.size() > size_max_ - content.size())
        return Error(ErrorKind::format, "more than " + std::to_string(size_max_) + " bytes");
    content.append(text(in));
    return {};
}

Result<std::size_t> MemorySource::read(MutableBytes out) {
    const std::size_t count = std::min(out.size(), rest_.size());
    if (count > 0) std::memcpy(out.data(), rest_.data(), count);
    rest_ = rest_.subspan(count);
    return count;
}

Result<std::uint64_t> pump(Source& source, Sink& sink, std::size_t buffer_size) {
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(buffer_size);
    std::uint64_t total = 0;
    for (;;) {
        const std::size_t count = CHRONOS_TRY(source.read({buffer.get(), buffer_size}));
        if (count == 0) return total;
        CHRONOS_TRY(sink.write({buffer.get(), count}));
        total += count;
    }
}

Result<std::uint64_t> copy(Source& source, Sink& sink) {
    const std::uint64_t total = CHRONOS_TRY(pump(source, sink));
    CHRONOS_TRY(sink.finish());
    return total;
}

Result<std::string> read_all(Source& source, std::size_t size_max) {
    MemorySink sink(size_max);
    CHRONOS_TRY(copy(source, sink));
    return std::move(sink.content);
}

Result<std::size_t> read_full(Source& source, MutableBytes out) {
    std::size_t filled = 0;
    while (filled < out.size()) {
        const std::size_t count = CHRONOS_TRY(source.read(out.subspan(filled)));
        if (count == 0) break;
        filled += count;
    }
    return filled;
}

}  // namespace chronos::io
