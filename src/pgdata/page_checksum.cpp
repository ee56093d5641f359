#include "chronos/pgdata/page_checksum.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "pgdata/little_endian.h"

namespace chronos::pgdata {
namespace {

constexpr std::size_t kLanes = 32;
constexpr std::size_t kRowSize = kLanes * sizeof(std::uint32_t);
constexpr std::size_t kChecksumAt = 8;
constexpr std::size_t kUpperAt = 14;
constexpr std::uint32_t kPrime = 16777619;

// Source: docs/format/cluster-files.md, Page checksum algorithm.
constexpr std::array<std::uint32_t, kLanes> kStart = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

using Row = std::array<std::uint32_t, kLanes>;

// Each lane goes its own way until the end, so the loops over lanes become vector instructions.
// Inlined into one function per instruction set: multiplication of 32-bit lanes, the heart of it,
// is one instruction with AVX2 and five without.
[[gnu::always_inline]] inline void mix(Row& sums, const Row& words) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const std::uint32_t mixed = sums[lane] ^ words[lane];
        sums[lane] = (mixed * kPrime) ^ (mixed >> 17);
    }
}

/// XOR of the lanes, before the block number. `page` is `size` bytes, a multiple of kRowSize.
[[gnu::always_inline]] inline std::uint32_t fold_page(const std::byte* page, std::size_t size) {
    Row sums = kStart;
    Row words;
    std::memcpy(words.data(), page, kRowSize);
    // The checksum cannot be over itself: its field counts as zero.
    words[kChecksumAt / sizeof(std::uint32_t)] &= 0xFFFF0000u;
    mix(sums, words);
    for (std::size_t at = kRowSize; at < size; at += kRowSize) {
        std::memcpy(words.data(), page + at, kRowSize);
        mix(sums, words);
    }
    mix(sums, Row{});
    mix(sums, Row{});
    std::uint32_t folded = 0;
    for (const std::uint32_t sum : sums) folded ^= sum;
    return folded;
}

using FoldPage = std::uint32_t (*)(const std::byte*, std::size_t);

std::uint32_t fold_page_default(const std::byte* page, std::size_t size) {
    return fold_page(page, size);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] std::uint32_t fold_page_avx2(const std::byte* page, std::size_t size) {
    return fold_page(page, size);
}
FoldPage best_fold_page() {
    return __builtin_cpu_supports("avx2") ? fold_page_avx2 : fold_page_default;
}
#else
FoldPage best_fold_page() {
    return fold_page_default;
}
#endif

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

std::uint16_t page_checksum(io::Bytes page, std::uint32_t block_number) {
    static const FoldPage fold = best_fold_page();
    const std::uint32_t mixed = fold(page.data(), page.size() / kRowSize * kRowSize) ^ block_number;
    return static_cast<std::uint16_t>(mixed % 65535 + 1);
}

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
