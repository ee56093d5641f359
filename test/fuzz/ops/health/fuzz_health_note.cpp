// What the server's health worker and `serve` leave for each other, and for their own next run:
// read or refused, and what was read is written as something that is read as the same.
#include "chronos/base/clock.h"
#include "chronos/ops/health/note.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace chronos::ops::health;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto note = parse_health_note(text)) {
        const std::string written = format_health_note(*note);
        const auto again = parse_health_note(written);
        require(again && format_health_note(*again) == written);
        require(note->limit() > 0);
    }
    const std::string memory = format_serve_memory(parse_serve_memory(text));
    require(format_serve_memory(parse_serve_memory(memory)) == memory);
    return 0;
}
