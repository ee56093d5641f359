#include "chronos/storage/parallel.h"

#include <algorithm>

namespace chronos::storage {
namespace {

/// Buffers and contexts of the stages in front of or behind an object.
constexpr std::uint64_t kStagesCost = std::uint64_t{1} << 20;

}  // namespace

io::Workers workers_for(const Storage& storage, std::size_t process_max) {
    if (!storage.features().remote) return process_max;
    // A request of 50 ms moves a small file: 64 of them are some thousand files in three seconds,
    // about what two processors compress and encrypt.
    constexpr std::size_t kThreadsMin = 64;
    constexpr std::size_t kThreadsPerProcess = 16;
    return {std::max(kThreadsMin, kThreadsPerProcess * process_max), process_max};
}

Result<> at_once(const Storage& storage, const std::vector<std::function<Result<>()>>& questions) {
    const std::size_t threads = storage.features().remote ? questions.size() : 1;
    return io::parallel_for(threads, questions.size(), Cancellation(),
                            [&](std::size_t i) { return questions[i](); });
}

std::uint64_t cost_of_writing(const Storage& storage, std::uint64_t size_bytes) {
    // A part being filled, and those of a large object that are under way.
    constexpr std::uint64_t kPartsMax = std::uint64_t{24} << 20;
    return storage.features().remote ? kStagesCost + std::min(size_bytes, kPartsMax) : 0;
}

std::uint64_t cost_of_reading(const Storage& storage, std::uint64_t size_bytes) {
    constexpr std::uint64_t kWaitingMax = std::uint64_t{2} << 20;
    return storage.features().remote ? kStagesCost + std::min(size_bytes, kWaitingMax) : 0;
}

}  // namespace chronos::storage
