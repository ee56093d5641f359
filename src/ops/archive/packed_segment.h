#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "chronos/compress/compress.h"
#include "compressed.h"
#include "wal_source.h"

namespace chronos::ops::archive {

/// How many bytes may wait to be stored, over all threads.
class ByteBudget {
public:
    explicit ByteBudget(std::size_t limit) : free_(limit), limit_(limit) {}
    /// Waits until there is room. More than the whole budget is let in alone.
    void take(std::size_t count);
    void give_back(std::size_t count);

private:
    std::mutex mutex_;
    std::condition_variable freed_;
    std::size_t free_;
    const std::size_t limit_;
};

/// A segment in the form in which it is stored, apart from encryption: compressed, in memory. What
/// it was made from is no longer needed, so that many can be on their way to a slow repository
/// while few are compressed.
class PackedSegment {
public:
    struct Form {
        compress::CompressType compress_type;
        int compress_level;
        CompressedSegments* shared = nullptr;  ///< what others have made is taken from there
    };

    /// Whether it is small enough to be held.
    static bool fits(const WalSource& source);
    /// Of one that fits. Waits for room in `budget` once it has let go of the content of `source`.
    static Result<PackedSegment> pack(WalSource source, const Form& form, BufferPool& pool,
                                      ByteBudget& budget);
    PackedSegment(PackedSegment&& other) noexcept;
    PackedSegment& operator=(PackedSegment&&) = delete;
    ~PackedSegment();

    /// Writes it to `sink` and finishes that.
    Result<> copy_to(io::Sink& sink) const;

private:
    PackedSegment(BufferPool::Buffer content, std::size_t size, BufferPool& pool,
                  ByteBudget& budget)
        : content_(std::move(content)), size_(size), pool_(&pool), budget_(&budget) {}

    BufferPool::Buffer content_;  ///< null: moved from
    std::size_t size_;
    BufferPool* pool_;
    ByteBudget* budget_;
};

}  // namespace chronos::ops::archive
