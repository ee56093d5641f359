#pragma once

#include "extension/postgres_api.h"

namespace chronos::extension {

/// Now, as schedules see it: the server's clock, which tests can set forward.
TimestampTz schedule_now();

/// The zone of that name, "" or nullptr for that of labels; nullptr if there is none.
pg_tz* schedule_zone(const char* name);

/// Why a schedule of these can never run, nullptr if it can: another release of this or of the
/// system may have known them, as zones come and go with the packages of the system.
const char* schedule_problem(const char* type, const char* cron, const char* zone);

/// DT_NOEND if it is never due.
TimestampTz next_run_after(const char* cron, pg_tz* zone, TimestampTz after);

}  // namespace chronos::extension
