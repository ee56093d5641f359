#include "chronos/io/worker_pool.h"

#include <atomic>
#include <set>

#include "result_matchers.h"

namespace chronos::io {
namespace {

TEST(ParallelFor, RunsEveryIndexOnce) {
    std::atomic<int> sum{0};
    const Cancellation cancel;
    ASSERT_OK(parallel_for(4, 1000, cancel, [&](std::size_t index) -> Result<> {
        sum += static_cast<int>(index);
        return {};
    }));
    EXPECT_EQ(sum, 499500);
}

TEST(ParallelFor, ReturnsTheFirstErrorAndStartsNothingMore) {
    std::atomic<int> started{0};
    const Cancellation cancel;
    EXPECT_ERROR(ErrorKind::format,
                 parallel_for(1, 1000, cancel, [&](std::size_t index) -> Result<> {
                     ++started;
                     if (index == 10) return Error(ErrorKind::format, "tenth");
                     return {};
                 }));
    EXPECT_EQ(started, 11);
}

TEST(ParallelFor, TurnsAnExceptionIntoAnError) {
    const Cancellation cancel;
    EXPECT_ERROR(ErrorKind::internal, parallel_for(2, 3, cancel, [](std::size_t) -> Result<> {
                     throw std::runtime_error("broken");
                 }));
}

TEST(ParallelFor, EndsWhenCancelled) {
    Cancellation cancel;
    std::atomic<int> started{0};
    EXPECT_ERROR(ErrorKind::cancelled, parallel_for(2, 1000, cancel, [&](std::size_t) -> Result<> {
                     ++started;
                     cancel.request();
                     return {};
                 }));
    EXPECT_LT(started, 1000);
}

}  // namespace
}  // namespace chronos::io
