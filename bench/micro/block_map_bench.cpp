// Reading and writing the block map of a 1 GiB relation segment with scattered changes.
#include <benchmark/benchmark.h>

#include <random>

#include "chronos/repo/block_map.h"

namespace chronos::repo {
namespace {

constexpr BlockGeometry kGeometry{88 * 1024, 7};
constexpr std::uint64_t kBlocks = (std::uint64_t{1} << 30) / kGeometry.block_size_bytes;

/// A full with super blocks of eight blocks, and a diff in which every tenth block changed.
BlockMap scattered() {
    constexpr std::uint64_t kPerSuperBlock = 8;
    constexpr std::uint64_t kStored = 200'000;
    std::mt19937_64 engine(1);
    BlockMap map(kBlocks);
    std::uint64_t fresh = 0;
    for (std::uint64_t number = 0; number < kBlocks; ++number) {
        BlockMapItem& item = map[number];
        const bool changed = number % 10 == 9;
        item.reference = changed ? 1 : 0;
        const std::uint64_t position = changed ? fresh++ : number;
        item.super_block_size = kPerSuperBlock * kGeometry.block_size_bytes;
        item.offset = position / kPerSuperBlock * kStored;
        item.size = kStored;
        item.position = position % kPerSuperBlock;
        for (std::size_t i = 0; i < kGeometry.checksum_size_bytes; ++i)
            item.checksum[i] = static_cast<std::byte>(engine());
    }
    return map;
}

void parse_map(benchmark::State& state) {
    const std::string text = format_block_map(scattered(), kGeometry);
    for (auto _ : state)
        benchmark::DoNotOptimize(parse_block_map(io::bytes(text), kGeometry).value());
    state.SetItemsProcessed(static_cast<std::int64_t>(kBlocks) * state.iterations());
}
BENCHMARK(parse_map);

void format_map(benchmark::State& state) {
    const BlockMap map = scattered();
    for (auto _ : state) benchmark::DoNotOptimize(format_block_map(map, kGeometry));
    state.SetItemsProcessed(static_cast<std::int64_t>(kBlocks) * state.iterations());
}
BENCHMARK(format_map);

}  // namespace
}  // namespace chronos::repo
