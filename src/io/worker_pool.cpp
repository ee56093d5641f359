#include "chronos/io/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "chronos/io/cpu_tokens.h"

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

Result<> parallel_for(Workers workers, std::size_t count, const Cancellation& cancel,
                      const std::function<Result<>(std::size_t)>& work) {
    CpuTokens tokens(workers.computing);
    CpuTokens* const used_tokens = workers.computing > 0 ? &tokens : nullptr;
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::optional<Error> first_error;
    const auto run = [&] {
        const TokenScope token(used_tokens);
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
    const std::size_t used = std::min(workers.threads, count);
    std::vector<std::jthread> others;
    try {
        for (std::size_t i = 1; i < used; ++i) others.emplace_back(run);
    } catch (const std::system_error&) {
        // The system has no more threads to give: those that are there do the work.
    }
    run();
    others.clear();
    if (first_error) return *std::move(first_error);
    return {};
}

ByteBudget::Share::Share(ByteBudget& budget, std::uint64_t size_bytes)
    : budget_(budget), taken_(std::min(size_bytes, budget.size_)) {
    const WaitScope waiting;
    std::unique_lock lock(budget_.mutex_);
    budget_.freed_.wait(lock, [&] { return budget_.free_ >= taken_; });
    budget_.free_ -= taken_;
}

ByteBudget::Share::~Share() {
    give_back(taken_);
}

void ByteBudget::Share::shrink_to(std::uint64_t size_bytes) {
    if (size_bytes < taken_) give_back(taken_ - size_bytes);
}

void ByteBudget::Share::give_back(std::uint64_t size_bytes) {
    {
        const std::lock_guard lock(budget_.mutex_);
        budget_.free_ += size_bytes;
        taken_ -= size_bytes;
    }
    budget_.freed_.notify_all();
}

}  // namespace chronos::io
