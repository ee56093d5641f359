// What the peer sends must never crash a reader, and what was understood must survive being sent
// on: the server module parses these lines inside a server process.
#include "chronos/control/message.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace chronos::control;
    LineBuffer buffer;
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    while (!rest.empty()) {
        const std::size_t chunk = 1 + static_cast<unsigned char>(rest[0]) % 64;
        if (!buffer.append(rest.substr(0, chunk))) return 0;
        rest.remove_prefix(rest.size() < chunk ? rest.size() : chunk);
        while (const auto line = buffer.next_line()) {
            const auto message = decode(*line);
            if (!message) continue;
            std::string again = encode(*message);
            again.pop_back();
            require(decode(again) == message);
        }
    }
    return 0;
}
