// Whatever stands in a repository must not crash a reader, and what was understood must have one
// text that means the same.
#include "chronos/repo/info.h"
#include "fuzz.h"
#include "resealed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace chronos::repo;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto value = parse_archive_info(resealed(input, parse_archive_info));
    if (!value) return 0;
    const std::string text = format_archive_info(*value);
    const auto again = parse_archive_info(text);
    require(static_cast<bool>(again));
    require(*again == *value);
    require(format_archive_info(*again) == text);
    return 0;
}
