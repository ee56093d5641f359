// A schedule that somebody wrote: an error, or times that ascend, are whole minutes, and are the
// same whenever they are asked for; also where clocks are set forward and back.
#include <ctime>

#include "chronos/control/cron.h"
#include "fuzz.h"

namespace {

using namespace chronos::control;

WallTime utc(std::int64_t time) {
    const std::time_t seconds = time;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return {parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
            parts.tm_hour,        parts.tm_min,     parts.tm_wday};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    // Within the years that there are, and the moment at which clocks are set.
    const std::int64_t begin = 1577836800 + input.number<std::uint32_t>() % 600000000;
    const std::int64_t change = begin + input.number<std::uint16_t>() * 60;
    const int shift_s = (static_cast<std::int8_t>(input.byte()) % 5) * 1800;
    const WallClock clock = [&](std::int64_t time) {
        return utc(time + (time < change ? 0 : shift_s));
    };
    const auto cron = Cron::parse(input.rest());
    if (!cron) return 0;
    std::int64_t time = begin;
    for (int i = 0; i < 4; ++i) {
        const auto next = cron->next_after(time, clock);
        if (!next) return 0;
        require(*next > time && *next % 60 == 0);
        require(cron->next_after(*next - 1, clock) == next);
        require(cron->next_after(time + (*next - time) / 2, clock) == next);
        time = *next;
    }
    return 0;
}
