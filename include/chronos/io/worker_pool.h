#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"

namespace chronos::io {

/// `threads` work at the same time, `computing` of which may compute at once (see CpuTokens); 0:
/// all of them.
struct Workers {
    Workers(std::size_t thread_count) : threads(thread_count) {}  // NOLINT: implicit
    Workers(std::size_t thread_count, std::size_t computing_count)
        : threads(thread_count), computing(computing_count) {}
    std::size_t threads;
    std::size_t computing = 0;
};

/// Runs `work(index)` for 0 <= index < count on at most `workers.threads` threads, in order of
/// index as threads come free. The first error stops further indexes from being started and is
/// returned after the running ones have ended; a request in `cancel` does the same. Exceptions
/// thrown by `work` come back as errors of kind internal (memory for std::bad_alloc).
Result<> parallel_for(Workers workers, std::size_t count, const Cancellation& cancel,
                      const std::function<Result<>(std::size_t index)>& work);

/// A bound on the bytes that the items under way keep in memory, where there are more threads than
/// such items would fit. An item takes all it will need when it begins, so that no two can wait for
/// each other; one that needs more than there is runs alone.
class ByteBudget {
public:
    explicit ByteBudget(std::uint64_t size_bytes) : size_(size_bytes), free_(size_bytes) {}

    class Share {
    public:
        Share(ByteBudget& budget, std::uint64_t size_bytes);
        ~Share();
        Share(const Share&) = delete;
        Share& operator=(const Share&) = delete;
        /// Gives back all but `size_bytes`, when the item has turned out to be smaller.
        void shrink_to(std::uint64_t size_bytes);

    private:
        void give_back(std::uint64_t size_bytes);
        ByteBudget& budget_;
        std::uint64_t taken_;
    };

private:
    const std::uint64_t size_;
    std::mutex mutex_;
    std::condition_variable freed_;
    std::uint64_t free_;
};

}  // namespace chronos::io
