#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace chronos::crypto {

#if defined(__x86_64__)
namespace {

// Inlined into every caller: the lanes have to end up in registers.
#define CHRONOS_SHA_CODE __attribute__((target("sha,sse4.1"), always_inline)) inline
#define CHRONOS_SHA_ENTRY __attribute__((target("sha,sse4.1"), noinline))

constexpr std::size_t kBlock = 64;

/// Chaining value of a hash: a, b, c, d in one register from the top down, e on top of the other.
struct Lane {
    __m128i abcd;
    __m128i e;
    const std::byte* at;
};

/// One block on its way through the 80 rounds, four of which are a step.
struct Step {
    __m128i words[4];
    __m128i abcd;
    __m128i e;
    __m128i before;  ///< abcd before the last step, from which comes the e of the next one
};

CHRONOS_SHA_CODE void load(Step& step, const Lane& lane) {
    const __m128i big_endian = _mm_set_epi64x(0x0001020304050607LL, 0x08090a0b0c0d0e0fLL);
    for (std::size_t i = 0; i < 4; ++i)
        step.words[i] = _mm_shuffle_epi8(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(lane.at + 16 * i)), big_endian);
    step.abcd = lane.abcd;
    step.e = lane.e;
}

template <int Number>
CHRONOS_SHA_CODE void rounds(Step& step) {
    constexpr int kWord = Number % 4;
    __m128i& word = step.words[kWord];
    step.e = Number == 0 ? _mm_add_epi32(step.e, word) : _mm_sha1nexte_epu32(step.before, word);
    step.before = step.abcd;
    step.abcd = _mm_sha1rnds4_epu32(step.abcd, step.e, Number / 5);
    if constexpr (Number < 16) {
        word = _mm_sha1msg1_epu32(word, step.words[(kWord + 1) % 4]);
        word = _mm_xor_si128(word, step.words[(kWord + 2) % 4]);
        word = _mm_sha1msg2_epu32(word, step.words[(kWord + 3) % 4]);
    }
}

CHRONOS_SHA_CODE void store(Lane& lane, const Step& step) {
    lane.e = _mm_sha1nexte_epu32(step.before, lane.e);
    lane.abcd = _mm_add_epi32(lane.abcd, step.abcd);
    lane.at += kBlock;
}

template <std::size_t Lanes, int... Number>
CHRONOS_SHA_CODE void hash_block(std::array<Lane, Lanes>& lanes,
                                 std::integer_sequence<int, Number...> /*numbers*/) {
    std::array<Step, Lanes> steps;
    for (std::size_t i = 0; i < Lanes; ++i) load(steps[i], lanes[i]);
    const auto all = [&]<int One>(std::integral_constant<int, One> /*number*/)
        __attribute__((target("sha,sse4.1"), always_inline)) {
        for (Step& step : steps) rounds<One>(step);
    };
    (all(std::integral_constant<int, Number>{}), ...);
    for (std::size_t i = 0; i < Lanes; ++i) store(lanes[i], steps[i]);
}

template <std::size_t Lanes>
CHRONOS_SHA_ENTRY void hash_blocks(std::array<Lane, Lanes>& lanes, std::size_t count) {
    std::array<Lane, Lanes> local = lanes;
    for (; count > 0; --count) hash_block(local, std::make_integer_sequence<int, 20>{});
    lanes = local;
}

CHRONOS_SHA_ENTRY Lane begin(io::Bytes content) {
    return {_mm_set_epi32(0x67452301, static_cast<int>(0xefcdab89), static_cast<int>(0x98badcfe),
                          0x10325476),
            _mm_set_epi32(static_cast<int>(0xc3d2e1f0), 0, 0, 0), content.data()};
}

CHRONOS_SHA_ENTRY std::string digest(const Lane& lane) {
    const __m128i words[2] = {lane.abcd, lane.e};
    std::array<std::uint32_t, 8> values;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values.data()), words[0]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(values.data() + 4), words[1]);
    std::array<std::byte, 20> bytes;
    constexpr std::array<std::size_t, 5> kOrder{3, 2, 1, 0, 7};
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::byte>(values[kOrder[i / 4]] >> (24 - 8 * (i % 4)));
    return to_hex(bytes);
}

/// What is left of one content after the blocks that both have, and the padding.
std::string finish(const Lane& lane, io::Bytes content) {
    std::array<Lane, 1> single{lane};
    const auto hashed = static_cast<std::size_t>(lane.at - content.data());
    const io::Bytes rest = content.subspan(hashed);
    hash_blocks(single, rest.size() / kBlock);
    const io::Bytes tail = rest.subspan(rest.size() / kBlock * kBlock);
    std::array<std::byte, 2 * kBlock> padded{};
    std::ranges::copy(tail, padded.begin());
    padded[tail.size()] = std::byte{0x80};
    const std::size_t blocks = tail.size() + 9 > kBlock ? 2 : 1;
    const std::uint64_t bits = std::uint64_t{content.size()} * 8;
    for (std::size_t i = 0; i < 8; ++i)
        padded[blocks * kBlock - 1 - i] = static_cast<std::byte>(bits >> (8 * i));
    single[0].at = padded.data();
    hash_blocks(single, blocks);
    return digest(single[0]);
}

bool has_sha_instructions() {
    static const bool result = [] {
        unsigned a = 0;
        unsigned b = 0;
        unsigned c = 0;
        unsigned d = 0;
        constexpr unsigned kSha = 1U << 29;
        constexpr unsigned kSse41 = 1U << 19;
        if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kSse41) == 0) return false;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & kSha) != 0;
    }();
    return result;
}

}  // namespace

std::array<std::string, 2> sha1_hex_pair(io::Bytes first, io::Bytes second) {
    if (!has_sha_instructions()) return {sha1_hex(first), sha1_hex(second)};
    std::array<Lane, 2> lanes{begin(first), begin(second)};
    hash_blocks(lanes, std::min(first.size(), second.size()) / kBlock);
    return {finish(lanes[0], first), finish(lanes[1], second)};
}

#else

std::array<std::string, 2> sha1_hex_pair(io::Bytes first, io::Bytes second) {
    return {sha1_hex(first), sha1_hex(second)};
}

#endif

}  // namespace chronos::crypto
