#include "chronos/pgdata/timeline_history.h"

namespace chronos::pgdata {
namespace {

/// A server takes the number behind the highest that it knows of, and on its way asks for the
/// history of each number up to its target: with one far ahead it does not arrive.
constexpr Timeline kJumpMax = 100'000;

}  // namespace

Result<std::vector<TimelineSwitch>> parse_history_of(Timeline timeline, std::string_view text) {
    auto switches = CHRONOS_TRY(parse_timeline_history(text));
    if (switches.empty()) return Error(ErrorKind::format, "it names no timeline before its own");
    const Timeline parent = switches.back().parent;
    if (parent >= timeline)
        return Error(ErrorKind::format, "it is no history of timeline " + std::to_string(timeline) +
                                            ", but of one behind " + std::to_string(parent));
    if (timeline - parent > kJumpMax)
        return Error(ErrorKind::format, "no server that leaves timeline " + std::to_string(parent) +
                                            " begins timeline " + std::to_string(timeline));
    return switches;
}

}  // namespace chronos::pgdata
