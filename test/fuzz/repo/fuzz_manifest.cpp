// Whatever stands in a repository must not crash a reader, and what was understood must have one
// text that means the same.
#include "chronos/repo/manifest.h"
#include "fuzz.h"
#include "resealed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace chronos::repo;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto value = parse_manifest(resealed(input, parse_manifest));
    if (!value) return 0;
    const std::string text = format_manifest(*value);
    const auto again = parse_manifest(text);
    require(static_cast<bool>(again));
    require(*again == *value);
    require(format_manifest(*again) == text);
    return 0;
}
