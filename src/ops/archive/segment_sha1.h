#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "chronos/crypto/hash.h"
#include "chronos/io/stream.h"

namespace chronos::ops::archive {

/// Computes a SHA-1, if somebody waits in a thread of its own: hashing a segment takes as long as
/// decompressing and writing it, and recovery waits for both.
///
/// Blocks go round: taken empty, filled, handed over, and free again when they are hashed.
class SegmentSha1 {
public:
    /// Small enough to be hashed out of the cache, large enough that handing over costs nothing.
    static constexpr std::size_t kBlockSize = std::size_t{256} << 10;
    /// Bytes in a buffer of kBlockSize. Shared: it may be read while it is being hashed.
    struct Block {
        std::unique_ptr<std::byte[]> data;
        std::size_t size = 0;
        io::Bytes bytes() const { return {data.get(), size}; }
    };

    enum class Thread { own, callers };
    explicit SegmentSha1(Thread thread);
    ~SegmentSha1();
    SegmentSha1(const SegmentSha1&) = delete;
    SegmentSha1& operator=(const SegmentSha1&) = delete;

    /// An empty block; waits while all of them are being hashed.
    std::shared_ptr<Block> take();
    /// Next in the content. It must not be changed any more.
    void add(std::shared_ptr<Block> block);
    /// 40 hexadecimal digits; nothing may follow.
    std::string finish();

private:
    static constexpr std::size_t kBlocksMax = 8;

    void run();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<Block>> waiting_;
    std::vector<std::shared_ptr<Block>> free_;
    std::size_t made_ = 0;
    bool ended_ = false;
    crypto::Sha1 sha1_;
    std::thread thread_;  ///< none: add() hashes
};

}  // namespace chronos::ops::archive
