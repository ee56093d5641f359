#include "chronos/ops/health/health.h"
#include "ops/health/columns.h"

namespace chronos::ops::health {
namespace {

// The extension need not exist in the database that is asked.
constexpr std::string_view kHasViewsQuery =
    "SELECT (pg_catalog.to_regclass('chronos.jobs') IS NOT NULL"
    " AND pg_catalog.to_regclass('chronos.schedules') IS NOT NULL)::text";

constexpr std::string_view kJobsQuery =
    "SELECT job.id::text, job.type, job.state, coalesce(job.requested_by, ''),"
    " coalesce(job.schedule, ''), coalesce(job.label, ''), coalesce(job.error, ''),"
    " coalesce(job.hint, ''),"
    " coalesce(extract(epoch FROM job.requested_at)::bigint, 0)::text,"
    " coalesce(extract(epoch FROM job.started_at)::bigint, 0)::text,"
    " coalesce(extract(epoch FROM job.finished_at)::bigint, 0)::text,"
    " coalesce(extract(epoch FROM job.due_at)::bigint, 0)::text,"
    " coalesce(job.bytes, 0)::text, coalesce(job.files, 0)::text"
    " FROM chronos.jobs AS job ORDER BY job.requested_at DESC LIMIT 40";

constexpr std::string_view kSchedulesQuery =
    "SELECT name, type, cron, coalesce(timezone, ''), enabled::text,"
    " coalesce(extract(epoch FROM next_run)::bigint, 0)::text,"
    " coalesce(extract(epoch FROM last_due)::bigint, 0)::text,"
    " coalesce(last_state, ''), coalesce(last_error, '')"
    " FROM chronos.schedules ORDER BY next_run NULLS LAST, name LIMIT 100";

JobEntry job_of(const db::Row& row) {
    JobEntry job;
    job.id = static_cast<std::int64_t>(number(row[0]));
    job.type = row[1].value_or("");
    job.state = row[2].value_or("");
    job.requested_by = row[3].value_or("");
    job.schedule = row[4].value_or("");
    job.label = row[5].value_or("");
    job.error = row[6].value_or("");
    job.hint = row[7].value_or("");
    job.requested_at = time_of(row[8]);
    job.started_at = time_of(row[9]);
    job.finished_at = time_of(row[10]);
    job.due_at = time_of(row[11]);
    job.bytes_done = number(row[12]);
    job.files_done = number(row[13]);
    return job;
}

ScheduleEntry schedule_of(const db::Row& row) {
    ScheduleEntry schedule;
    schedule.name = row[0].value_or("");
    schedule.type = row[1].value_or("");
    schedule.cron = row[2].value_or("");
    schedule.timezone = row[3].value_or("");
    schedule.enabled = row[4] == "true";
    schedule.next_run = time_of(row[5]);
    schedule.last_due = time_of(row[6]);
    schedule.last_state = row[7].value_or("");
    schedule.last_error = row[8].value_or("");
    return schedule;
}

}  // namespace

Result<Activity> look_at_activity(db::Connection& connection) {
    Activity activity;
    const db::Rows there = CHRONOS_TRY(connection.query(kHasViewsQuery));
    if (there.size() != 1 || there[0].size() != 1 || there[0][0] != "true") return activity;
    for (const db::Row& row : CHRONOS_TRY(connection.query(kJobsQuery)))
        if (row.size() == 14) activity.jobs.push_back(job_of(row));
    for (const db::Row& row : CHRONOS_TRY(connection.query(kSchedulesQuery)))
        if (row.size() == 9) activity.schedules.push_back(schedule_of(row));
    return activity;
}

}  // namespace chronos::ops::health
