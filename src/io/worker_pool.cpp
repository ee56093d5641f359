#include "chronos/io/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <vector>

namespace chronos::io {
namespace {

Result<> run_guarded(const std::function<Result<>(std::size_t)>& work, std::size_t index) {
    try {
        return work(index);
    } catch (const std::bad_alloc&) {
        return Error(ErrorKind::memory, "out of memory");
    } catch (const std::exception& exception) {
        return Error(ErrorKind::internal, exception.what());
    }
}

}  // namespace

Result<> parallel_for(std::size_t threads, std::size_t count, const Cancellation& cancel,
                      const std::function<Result<>(std::size_t)>& work) {
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::optional<Error> first_error;
    const auto run = [&] {
        while (!failed.load(std::memory_order_relaxed)) {
            const std::size_t index = next.fetch_add(1, std::memory_order_relaxed);
            if (index >= count) return;
            Result<> result = cancel.check();
            if (result) result = run_guarded(work, index);
            if (result) continue;
            failed.store(true, std::memory_order_relaxed);
            const std::lock_guard lock(mutex);
            if (!first_error) first_error = std::move(result).error();
        }
    };
    const std::size_t used = std::min(threads, count);
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < used; ++i) others.emplace_back(run);
    run();
    others.clear();
    if (first_error) return *std::move(first_error);
    return {};
}

}  // namespace chronos::io
