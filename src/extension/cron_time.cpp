#include "extension/cron_time.h"

#include <cstdio>
#include <exception>

#include "chronos/control/cron.h"

namespace chronos::extension {
namespace {

Failure failure(const char* message, const char* hint) {
    Failure result;
    result.happened = true;
    std::snprintf(result.message, sizeof result.message, "%s", message);
    std::snprintf(result.hint, sizeof result.hint, "%s", hint);
    return result;
}

}  // namespace

Failure check_cron(const char* text) noexcept {
    try {
        const auto cron = control::Cron::parse(text);
        if (cron) return {};
        return failure(cron.error().message().c_str(), cron.error().hint().c_str());
    } catch (const std::exception& exception) {
        return failure(exception.what(), "");
    }
}

std::int64_t next_due(const char* cron, std::int64_t time, WallFunction clock,
                      void* zone) noexcept {
    try {
        const auto parsed = control::Cron::parse(cron);
        if (!parsed) return kNever;
        const auto next = parsed->next_after(time, [&](std::int64_t at) {
            const WallFields wall = clock(zone, at);
            return control::WallTime{wall.year, wall.month,  wall.day,
                                     wall.hour, wall.minute, wall.weekday};
        });
        return next.value_or(kNever);
    } catch (const std::exception&) {
        return kNever;
    }
}

}  // namespace chronos::extension
