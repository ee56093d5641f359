#pragma once

#include "extension/postgres_api.h"

namespace chronos::extension {

/// Now, as schedules see it: the server's clock, which tests can set forward.
TimestampTz schedule_now();

/// The zone of that name, "" or nullptr for that of labels; nullptr if there is none.
pg_tz* schedule_zone(const char* name);

/// DT_NOEND if it is never due.
TimestampTz next_run_after(const char* cron, pg_tz* zone, TimestampTz after);

}  // namespace chronos::extension
