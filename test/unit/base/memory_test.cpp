#include "chronos/base/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

namespace chronos {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kOtherHeap = true;
#else
constexpr bool kOtherHeap = false;
#endif

/// Bytes of this process that are in memory.
std::size_t resident() {
    std::ifstream statm("/proc/self/statm");
    std::size_t all = 0, resident_pages = 0;
    statm >> all >> resident_pages;
    return resident_pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(ReleaseFreeMemory, GivesHolesInTheHeapBack) {
    constexpr std::size_t kPiece = 16 * 1024;
    constexpr std::size_t kPieces = 4000;
    std::vector<std::unique_ptr<char[]>> pieces;
    for (std::size_t i = 0; i < kPieces; ++i) {
        pieces.push_back(std::make_unique<char[]>(kPiece));
        std::memset(pieces.back().get(), 'x', kPiece);
    }
    // The last piece stays, at the top of the heap.
    pieces.erase(pieces.begin(), pieces.end() - 1);
    const std::size_t before = resident();
    release_free_memory();
    EXPECT_TRUE(kOtherHeap || resident() + kPiece * kPieces / 2 < before);
    EXPECT_EQ(pieces[0][0], 'x');
}

}  // namespace
}  // namespace chronos
