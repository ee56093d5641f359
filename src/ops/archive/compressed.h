#pragma once

#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>

#include "chronos/base/result.h"

namespace chronos::ops::archive {

/// Segments that were compressed for one of several repositories, for the others: they come to the
/// same segment at about the same time, each at its own pace. Any thread.
///
/// A segment is forgotten when every repository has had it, or when newer ones need the place: a
/// repository that is behind compresses for itself.
class CompressedSegments {
public:
    using Content = std::shared_ptr<const std::string>;

    /// `takers`: repositories; `segments_max`: bounds the memory.
    CompressedSegments(std::size_t takers, std::size_t segments_max)
        : takers_(takers), segments_max_(segments_max) {}

    /// What `compress` makes of the segment with that checksum, or has made of it; whoever comes
    /// while it is being made waits.
    Result<Content> get(const std::string& checksum,
                        const std::function<Result<std::string>()>& compress);

private:
    struct Segment {
        std::string checksum;
        std::shared_future<Result<Content>> content;
        std::size_t taken = 0;
    };
    const std::size_t takers_;
    const std::size_t segments_max_;
    std::mutex mutex_;
    std::deque<Segment> segments_;  ///< oldest first
};

}  // namespace chronos::ops::archive
