#pragma once

#include <cstddef>
#include <functional>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"

namespace chronos::io {

/// Runs `work(index)` for 0 <= index < count on at most `threads` threads, in order of index as
/// threads come free. The first error stops further indexes from being started and is returned
/// after the running ones have ended; a request in `cancel` does the same. Exceptions thrown by
/// `work` come back as errors of kind internal (memory for std::bad_alloc).
Result<> parallel_for(std::size_t threads, std::size_t count, const Cancellation& cancel,
                      const std::function<Result<>(std::size_t index)>& work);

}  // namespace chronos::io
