#include "ops/archive/packed_segment.h"

#include <algorithm>
#include <string>

namespace chronos::ops::archive {
namespace {

/// A buffer that held more keeps too much memory for the next, usually smaller, segment.
constexpr std::size_t kKeptSizeMax = std::size_t{5} << 20;

Result<std::size_t> compress(const WalSource& source, const PackedSegment::Form& form,
                             std::byte* buffer) {
    return form.compressor.compress(source.content(), {buffer, BufferPool::kBufferSize});
}

/// A copy: the memory of what a repository that stands still holds must not count for another one.
Result<std::size_t> take_shared(WalSource& source, const PackedSegment::Form& form,
                                std::byte* buffer) {
    const auto make = [&]() -> Result<std::string> {
        const std::size_t size = CHRONOS_TRY(compress(source, form, buffer));
        return std::string(io::text({buffer, size}));
    };
    const std::string checksum = CHRONOS_TRY(source.checksum());
    const auto content = CHRONOS_TRY(form.shared->get(checksum, make));
    std::ranges::copy(io::bytes(*content), buffer);
    return content->size();
}

}  // namespace

bool PackedSegment::fits(const WalSource& source) {
    return source.in_memory() && source.size() <= kSizeMax;
}

Result<PackedSegment> PackedSegment::pack(WalSource source, const Form& form, BufferPool& pool,
                                          Memory memory) {
    BufferPool::Buffer content = pool.take();
    const std::size_t size =
        CHRONOS_TRY(form.shared != nullptr ? take_shared(source, form, content.get())
                                           : compress(source, form, content.get()));
    memory->shrink_to(size);
    return PackedSegment(std::move(content), size, pool, std::move(memory));
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
