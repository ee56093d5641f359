// Any bytes as a block map: an error, or a map that holds no more blocks than its bytes could, and
// that survives being written and read again.
#include <stdexcept>

#include "chronos/repo/block_map.h"
#include "fuzz.h"

namespace {

using namespace chronos;

/// False for maps that can be read but that no writer makes, e.g. one run cut in two.
bool written(const repo::BlockMap& map, repo::BlockGeometry geometry, std::string& text) {
    try {
        text = repo::format_block_map(map, geometry);
        return true;
    } catch (const std::logic_error&) {
        return false;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const repo::BlockGeometry geometry{(1 + data[0] / 16u) * 8192, data[0] % 16u + 1};
    const io::Bytes bytes = std::as_bytes(std::span(data, size)).subspan(1);
    const auto map = repo::parse_block_map(bytes, geometry);
    if (!map) return 0;
    require(map->size() <= bytes.size() / geometry.checksum_size_bytes);
    std::string text;
    if (!written(*map, geometry, text)) return 0;
    const auto again = repo::parse_block_map(io::bytes(text), geometry);
    require(again && *again == *map);
    return 0;
}
