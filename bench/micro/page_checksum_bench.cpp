// How fast page checksums go by themselves: they must not show next to compression, so several
// GB/s.
#include <benchmark/benchmark.h>

#include <string>

#include "chronos/pgdata/page_checksum.h"

namespace chronos {
namespace {

void page_checksum_of_relation(benchmark::State& state) {
    constexpr std::size_t kPageSize = 8192;
    const std::string relation(static_cast<std::size_t>(state.range(0)), 'x');
    for (auto _ : state) {
        for (std::size_t at = 0; at < relation.size(); at += kPageSize)
            benchmark::DoNotOptimize(pgdata::page_checksum(
                io::bytes(std::string_view(relation).substr(at, kPageSize)), 0));
    }
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(page_checksum_of_relation)->Arg(256 * 1024)->Arg(64 * 1024 * 1024);

}  // namespace
}  // namespace chronos
