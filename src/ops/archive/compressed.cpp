#include "ops/archive/compressed.h"

#include <algorithm>

namespace chronos::ops::archive {

Result<CompressedSegments::Content> CompressedSegments::get(
    const std::string& checksum, const std::function<Result<std::string>()>& compress) {
    std::promise<Result<Content>> promise;
    {
        std::unique_lock lock(mutex_);
        const auto found = std::ranges::find(segments_, checksum, &Segment::checksum);
        if (found != segments_.end()) {
            const auto content = found->content;
            if (++found->taken >= takers_) segments_.erase(found);
            lock.unlock();
            return content.get();
        }
        segments_.push_back({checksum, promise.get_future().share(), 1});
        if (segments_.size() > segments_max_) segments_.pop_front();
    }
    Result<std::string> made = Error(ErrorKind::memory, "out of memory");
    try {
        made = compress();
    } catch (const std::bad_alloc&) {
        // Whoever waits for it must hear of it too.
    }
    Result<Content> result = made ? Result<Content>(std::make_shared<std::string>(*std::move(made)))
                                  : Result<Content>(std::move(made).error());
    promise.set_value(result);
    return result;
}

}  // namespace chronos::ops::archive
