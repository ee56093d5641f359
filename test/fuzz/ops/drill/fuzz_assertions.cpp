// A file of questions for a drill: an error, or questions that, written down one after the other,
// are the same ones again.
#include "chronos/ops/drill/drill.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace chronos::ops::drill;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto assertions = parse_assertions(text, "postgres");
    if (!assertions) return 0;
    for (const Assertion& one : *assertions) {
        require(!one.sql.empty() && !one.expected.empty());
        // What is open at the end of a question would go on in what is put behind it.
        if (one.sql.find_first_of("'\"$()#\\-/") != std::string::npos) continue;
        const auto again = parse_assertions(one.sql + " => " + one.expected + ";\n", one.database);
        require(static_cast<bool>(again));
        require(again->size() == 1 && again->front().sql == one.sql &&
                again->front().expected == one.expected);
    }
    return 0;
}
