#include "ops/mount/presence.h"

#include <algorithm>
#include <utility>

namespace chronos::ops::mount {

Presence::Presence(std::uint64_t backup_size_bytes)
    : limit_(backup_size_bytes), present_(page_count(), false), absent_pages_(page_count()) {}

Presence::Presence(std::uint64_t limit_bytes, std::vector<bool> present)
    : limit_(limit_bytes), present_(std::move(present)) {
    present_.resize(page_count());
    absent_pages_ = static_cast<std::uint64_t>(std::ranges::count(present_, false));
    if (complete()) std::vector<bool>().swap(present_);
}

std::uint64_t Presence::page_end(std::uint64_t page) const {
    return std::min(limit_, (page + 1) * kPage);
}

std::optional<ByteRange> Presence::first_absent(ByteRange range) const {
    const std::uint64_t end = std::min(range.end, limit_);
    if (complete() || range.begin >= end) return std::nullopt;
    std::uint64_t page = range.begin / kPage;
    const std::uint64_t pages = (end + kPage - 1) / kPage;
    while (page < pages && has(page)) ++page;
    if (page == pages) return std::nullopt;
    ByteRange found{page * kPage, 0};
    while (page < pages && !has(page)) ++page;
    found.end = page_end(page - 1);
    return found;
}

std::vector<ByteRange> Presence::absent_pages_of(ByteRange content) const {
    std::vector<ByteRange> parts;
    for (std::uint64_t at = content.begin; at < content.end;) {
        const auto absent = first_absent({at, content.end});
        if (!absent) break;
        ByteRange part = *absent;
        if (part.begin < content.begin) part.begin += kPage;
        if (part.end > content.end) part.end = content.end / kPage * kPage;
        if (part.begin < part.end) parts.push_back(part);
        at = absent->end;
    }
    return parts;
}

std::optional<ByteRange> Presence::needed_to_write(ByteRange range) const {
    // What is written behind the backup's content touches none of it.
    if (complete() || range.begin >= std::min(range.end, limit_)) return std::nullopt;
    const std::uint64_t first = range.begin / kPage;
    const std::uint64_t last = (std::min(range.end, limit_) - 1) / kPage;
    for (const std::uint64_t page : {first, last}) {
        const ByteRange whole{page * kPage, page_end(page)};
        if (!has(page) && (whole.begin < range.begin || whole.end > range.end)) return whole;
    }
    return std::nullopt;
}

void Presence::add(ByteRange range) {
    if (complete()) return;
    const std::uint64_t end = std::min(range.end, limit_);
    for (std::uint64_t page = (range.begin + kPage - 1) / kPage;
         page < present_.size() && page_end(page) <= end; ++page) {
        if (has(page)) continue;
        present_[page] = true;
        --absent_pages_;
    }
    if (complete()) std::vector<bool>().swap(present_);
}

void Presence::cut(std::uint64_t size_bytes) {
    if (size_bytes >= limit_) return;
    limit_ = size_bytes;
    if (complete()) return;
    for (std::uint64_t page = page_count(); page < present_.size(); ++page)
        if (!present_[page]) --absent_pages_;
    present_.resize(page_count());
    if (complete()) std::vector<bool>().swap(present_);
}

}  // namespace chronos::ops::mount
