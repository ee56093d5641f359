#include "chronos/pgdata/page_checksum.h"

#include <array>
#include <cstring>

namespace chronos::pgdata {
namespace {

constexpr std::size_t kLanes = 32;
constexpr std::size_t kRowSize = kLanes * sizeof(std::uint32_t);
constexpr std::size_t kChecksumWord = 2;  // pd_checksum is its lower half
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
    words[kChecksumWord] &= 0xFFFF0000u;
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

}  // namespace

std::uint16_t page_checksum(io::Bytes page, std::uint32_t block_number) {
    static const FoldPage fold = best_fold_page();
    const std::uint32_t mixed = fold(page.data(), page.size() / kRowSize * kRowSize) ^ block_number;
    return static_cast<std::uint16_t>(mixed % 65535 + 1);
}

}  // namespace chronos::pgdata
