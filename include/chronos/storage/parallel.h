#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "chronos/io/worker_pool.h"
#include "chronos/storage/storage.h"

/// How much of a storage is used at once: decided here, so that each verb treats a distant one
/// alike.
namespace chronos::storage {

/// How many threads should read or write objects of `storage` at once when `process_max` may
/// compute: a thread for each where storage is near, enough to keep a distant link busy where not.
io::Workers workers_for(const Storage& storage, std::size_t process_max);
/// Runs questions of which none needs another's answer: at the same time where each of them is a
/// round trip, else one after the other. The first error; the others may have been asked or not.
Result<> at_once(const Storage& storage, const std::vector<std::function<Result<>()>>& questions);
/// A question for at_once() whose answer is put into `value`.
template <class Value, class Question>
std::function<Result<>()> answer_into(Value& value, Question question) {
    return [&value, question]() -> Result<> {
        value = CHRONOS_TRY(question());
        return {};
    };
}
/// What the objects under way of such threads may keep in memory in all, and what one of a size
/// counts (stages, parts under way, answers not yet taken); 0 where storage is near.
inline constexpr std::uint64_t kBytesInFlightMax = std::uint64_t{128} << 20;
std::uint64_t cost_of_writing(const Storage& storage, std::uint64_t size_bytes);
std::uint64_t cost_of_reading(const Storage& storage, std::uint64_t size_bytes);

}  // namespace chronos::storage
