#include <algorithm>
#include <cstring>

#include "chronos/pgdata/page_checksum.h"
#include "pgdata/little_endian.h"

namespace chronos::pgdata {
namespace {

constexpr std::size_t kChecksumAt = 8;
constexpr std::size_t kUpperAt = 14;

bool all_zero(io::Bytes page) {
    // Compared with itself one byte further on: every byte equals the first, and that is zero.
    return page.front() == std::byte{0} &&
           std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

void add_error(std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges, std::uint64_t block) {
    if (!ranges.empty() && ranges.back().second + 1 == block)
        ranges.back().second = block;
    else
        ranges.emplace_back(block, block);
}

}  // namespace

PageCheckSink::PageCheckSink(Options options, RereadPage reread_page, io::Sink& next)
    : options_(options), reread_page_(std::move(reread_page)), next_(next) {
    partial_.reserve(options_.page_size);
}

Result<> PageCheckSink::write(io::Bytes in) {
    io::Bytes rest = in;
    if (!partial_.empty()) {
        const std::size_t wanted = std::min(options_.page_size - partial_.size(), rest.size());
        partial_.insert(partial_.end(), rest.begin(), rest.begin() + static_cast<long>(wanted));
        rest = rest.subspan(wanted);
        if (partial_.size() == options_.page_size) {
            check_page(partial_);
            partial_.clear();
        }
    }
    for (; rest.size() >= options_.page_size; rest = rest.subspan(options_.page_size))
        check_page(rest.first(options_.page_size));
    partial_.insert(partial_.end(), rest.begin(), rest.end());
    return next_.write(in);
}

Result<> PageCheckSink::finish() {
    // With a remainder of whatever size the file counts as bad as a whole, without a list.
    if (!partial_.empty()) {
        result_.misaligned = true;
        result_.error_ranges.clear();
    }
    return next_.finish();
}

bool PageCheckSink::is_good(io::Bytes page, std::uint64_t block) const {
    const bool is_new =
        load<std::uint16_t>(page, options_.header_check ? kUpperAt : kChecksumAt) == 0;
    if (is_new) return all_zero(page);
    return load<std::uint16_t>(page, kChecksumAt) ==
           page_checksum(page, static_cast<std::uint32_t>(block));
}

/// Whether the page has changed on disk since it was read: then the server was writing it, and
/// recovery will write it again from the WAL.
bool PageCheckSink::was_being_written(io::Bytes page, std::uint64_t index) const {
    std::vector<std::byte> again(options_.page_size);
    return reread_page_ && reread_page_(index * options_.page_size, again) &&
           !std::ranges::equal(page, again);
}

void PageCheckSink::check_page(io::Bytes page) {
    const std::uint64_t index = pages_++;
    const std::uint64_t block = options_.first_block + index;
    if (is_good(page, block) || was_being_written(page, index)) return;
    add_error(result_.error_ranges, block);
}

}  // namespace chronos::pgdata
