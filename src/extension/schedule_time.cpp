#include "extension/schedule_time.h"

#include "extension/cron_time.h"
#include "extension/job_types.h"
#include "extension/settings.h"
#include "extension/shared_state.h"

namespace chronos::extension {
namespace {

WallFields wall_fields(void* zone, std::int64_t time) {
    const pg_time_t value = time;
    const pg_tm* parts = pg_localtime(&value, static_cast<pg_tz*>(zone));
    if (parts == nullptr) return {1970, 1, 1, 0, 0, 4};  // out of range: far from any schedule
    return {parts->tm_year + 1900, parts->tm_mon + 1, parts->tm_mday,
            parts->tm_hour,        parts->tm_min,     parts->tm_wday};
}

}  // namespace

TimestampTz schedule_now() {
    const TimestampTz now = GetCurrentTimestamp();
    if (shared == nullptr) return now;
    return now + static_cast<int64>(pg_atomic_read_u64(&shared->clock_offset_us));
}

pg_tz* schedule_zone(const char* name) {
    return pg_tzset(name != nullptr && *name != '\0' ? name : engine_time_zone());
}

const char* schedule_problem(const char* type, const char* cron, const char* zone) {
    if (find_startable_type(type) == nullptr) return psprintf("\"%s\" is not a type of job", type);
    if (schedule_zone(zone) == nullptr) return psprintf("there is no time zone \"%s\"", zone);
    const Failure failure = check_cron(cron);
    return failure.happened ? pstrdup(failure.message) : nullptr;
}

TimestampTz next_run_after(const char* cron, pg_tz* zone, TimestampTz after) {
    const int64 next = next_due(cron, timestamptz_to_time_t(after), wall_fields, zone);
    return next == kNever ? DT_NOEND : time_t_to_timestamptz(next);
}

}  // namespace chronos::extension
