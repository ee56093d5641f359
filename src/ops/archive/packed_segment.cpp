#include "packed_segment.h"

#include <cstring>

namespace chronos::ops::archive {
namespace {

/// A buffer that held more keeps too much memory for the next, usually smaller, segment.
constexpr std::size_t kKeptSizeMax = std::size_t{5} << 20;

/// Fills a buffer of the pool.
class BufferSink final : public io::Sink {
public:
    explicit BufferSink(std::byte* buffer) : buffer_(buffer) {}
    Result<> write(io::Bytes in) override {
        if (in.size() > BufferPool::kBufferSize - size_)
            return Error(ErrorKind::internal, "a packed segment outgrew its buffer");
        std::memcpy(buffer_ + size_, in.data(), in.size());
        size_ += in.size();
        return {};
    }
    Result<> finish() override { return {}; }
    std::size_t size() const { return size_; }

private:
    std::byte* buffer_;
    std::size_t size_ = 0;
};

Result<> compress_to(const WalSource& source, const PackedSegment::Form& form, io::Sink& sink) {
    return source.copy_to(*compress::make_compressor(form.compress_type, form.compress_level,
                                                     compress::Form::normal, sink));
}

/// A copy: the memory of what a repository that stands still holds must not count for another one.
Result<> take_shared(WalSource& source, const PackedSegment::Form& form, io::Sink& sink) {
    const auto make = [&]() -> Result<std::string> {
        io::MemorySink memory;
        CHRONOS_TRY(compress_to(source, form, memory));
        return std::move(memory.content);
    };
    const std::string checksum = CHRONOS_TRY(source.checksum());
    const auto content = CHRONOS_TRY(form.shared->get(checksum, make));
    return sink.write(io::bytes(*content));
}

}  // namespace

bool PackedSegment::fits(const WalSource& source) {
    return source.in_memory() && source.size() <= kSizeMax;
}

Result<PackedSegment> PackedSegment::pack(WalSource source, const Form& form, BufferPool& pool,
                                          Memory memory) {
    BufferPool::Buffer content = pool.take();
    BufferSink packed(content.get());
    if (form.shared != nullptr)
        CHRONOS_TRY(take_shared(source, form, packed));
    else
        CHRONOS_TRY(compress_to(source, form, packed));
    memory->shrink_to(packed.size());
    return PackedSegment(std::move(content), packed.size(), pool, std::move(memory));
}

PackedSegment::~PackedSegment() {
    if (!content_) return;
    if (size_ <= kKeptSizeMax) pool_->give_back(std::move(content_));
}

Result<> PackedSegment::copy_to(io::Sink& sink) const {
    if (size_ > 0) CHRONOS_TRY(sink.write({content_.get(), size_}));
    return sink.finish();
}

}  // namespace chronos::ops::archive
