#pragma once

#include <cstddef>
#include <memory>

#include "chronos/io/worker_pool.h"
#include "ops/archive/compressed.h"
#include "ops/archive/wal_compressor.h"
#include "ops/archive/wal_source.h"

namespace chronos::ops::archive {

/// A segment in the form in which it is stored, apart from encryption: compressed, in memory. What
/// it was made from is no longer needed, so that many can be on their way to a slow repository
/// while few are compressed.
class PackedSegment {
public:
    struct Form {
        WalCompressor& compressor;
        CompressedSegments* shared = nullptr;  ///< what others have made is taken from there
    };

    /// What one may need of the memory for packed segments, before it is known how small it is.
    /// No codec makes a file that is half as large as the buffer larger than it.
    static constexpr std::size_t kSizeMax = BufferPool::kBufferSize / 2;
    using Memory = std::unique_ptr<io::ByteBudget::Share>;

    /// Whether it is small enough to be held.
    static bool fits(const WalSource& source);
    /// Of one that fits. `memory` is a share of kSizeMax, of which it keeps what it needs.
    static Result<PackedSegment> pack(WalSource source, const Form& form, BufferPool& pool,
                                      Memory memory);
    PackedSegment(PackedSegment&& other) noexcept = default;
    PackedSegment& operator=(PackedSegment&&) = delete;
    ~PackedSegment();

    /// Writes it to `sink` and finishes that.
    Result<> copy_to(io::Sink& sink) const;

private:
    PackedSegment(BufferPool::Buffer content, std::size_t size, BufferPool& pool, Memory memory)
        : memory_(std::move(memory)), content_(std::move(content)), size_(size), pool_(&pool) {}

    Memory memory_;  ///< given back after the content

    BufferPool::Buffer content_;  ///< null: moved from
    std::size_t size_;
    BufferPool* pool_;
};

}  // namespace chronos::ops::archive
