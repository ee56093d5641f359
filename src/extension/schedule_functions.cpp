#include "extension/audit.h"
#include "extension/cron_time.h"
#include "extension/job_options.h"
#include "extension/job_queue.h"
#include "extension/postgres_api.h"
#include "extension/schedule_time.h"
#include "extension/settings.h"
#include "extension/shared_state.h"

/// schedule, unschedule, next_run, and how the launcher learns of a change.

namespace chronos::extension {
namespace {

constexpr const char* kUpsert =
    "INSERT INTO chronos.schedule_entries AS entry (name, type, cron, timezone, options, retries, "
    "retry_delay, enabled, created_by, changed_at, considered_until) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (name) DO UPDATE SET "
    "type = excluded.type, cron = excluded.cron, timezone = excluded.timezone, "
    "options = excluded.options, retries = excluded.retries, retry_delay = excluded.retry_delay, "
    "enabled = excluded.enabled, created_by = excluded.created_by, "
    "changed_at = excluded.changed_at, considered_until = excluded.considered_until";
constexpr const char* kDelete = "DELETE FROM chronos.schedule_entries WHERE name = $1";
constexpr int kArguments = 8;
constexpr int kColumns = 11;

/// This transaction has changed schedules: the launcher is told at its end, when others see it.
bool changed_here;

void tell_launcher(XactEvent event, void*) {
    const bool ended =
        event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE;
    if (!changed_here || !ended) return;
    changed_here = false;
    wake_scheduler();
}

void note_change() {
    static bool registered = false;
    if (!registered) RegisterXactCallback(tell_launcher, nullptr);
    registered = true;
    changed_here = true;
}

/// Jobs and schedules of a cluster are in one database.
void require_database() {
    const char* here = get_database_name(MyDatabaseId);
    if (here != nullptr && settings.database != nullptr && strcmp(here, settings.database) == 0)
        return;
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("schedules are kept in the database \"%s\"", settings.database),
                    errhint("Connect to it, or change chronos.database.")));
}

void require_arguments(FunctionCallInfo fcinfo) {
    static const char* const kNames[kArguments] = {"name",  "type",    "cron",        nullptr,
                                                   nullptr, "retries", "retry_delay", "enabled"};
    for (int i = 0; i < kArguments; ++i)
        if (kNames[i] != nullptr && fcinfo->args[i].isnull)
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("%s must not be null", kNames[i])));
}

[[noreturn]] void refuse(const char* message) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message)));
}

void check_name(const char* name) {
    const size_t length = strlen(name);
    bool good = length > 0 && length < sizeof JobSlot::schedule;
    for (size_t i = 0; i < length; ++i) good = good && static_cast<unsigned char>(name[i]) >= ' ';
    if (!good)
        refuse(psprintf("the name of a schedule has 1 to %d bytes on one line",
                        static_cast<int>(sizeof JobSlot::schedule) - 1));
}

void require_cron(const char* cron) {
    const Failure failure = check_cron(cron);
    if (!failure.happened) return;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", failure.message),
                    failure.hint[0] != '\0' ? errhint("%s", failure.hint) : 0));
}

pg_tz* require_zone(const char* name) {
    pg_tz* zone = schedule_zone(name);
    if (zone == nullptr) refuse(psprintf("there is no time zone \"%s\"", name));
    return zone;
}

void check_options(const char* type_name, FunctionCallInfo fcinfo, int argument) {
    const JobType* type = find_startable_type(type_name);
    if (type == nullptr)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("\"%s\" is not a type of job", type_name),
                        errhint("Types are %s.", job_type_names(/*backups_only=*/false))));
    if (fcinfo->args[argument].isnull) return;
    StringInfoData lines;
    initStringInfo(&lines);
    append_options(&lines, type, PG_GETARG_JSONB_P(argument));
    // Who called: this function itself runs as its owner.
    require_permitted(type, PG_GETARG_JSONB_P(argument), GetOuterUserId());
    require_options_fit(&lines, "options");
}

void check_retries(int retries, const Interval* delay) {
    if (retries < 0 || retries > 100) refuse("retries must be between 0 and 100");
    // Also where an interval can be infinite.
    if (delay->time < 0 || delay->day < 0 || delay->month < 0 ||
        delay->time > 366 * USECS_PER_DAY || delay->day > 366 || delay->month > 12)
        refuse("retry_delay must be between 0 and one year");
}

const char* text_argument(FunctionCallInfo fcinfo, int argument) {
    return fcinfo->args[argument].isnull ? "" : TextDatumGetCString(fcinfo->args[argument].value);
}

void store(FunctionCallInfo fcinfo, TimestampTz now) {
    Oid types[kColumns] = {TEXTOID,     TEXTOID, TEXTOID, TEXTOID,        JSONBOID,      INT4OID,
                           INTERVALOID, BOOLOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
    Datum values[kColumns];
    char nulls[kColumns + 1] = {};
    for (int i = 0; i < kArguments; ++i) {
        values[i] = fcinfo->args[i].value;
        nulls[i] = fcinfo->args[i].isnull ? 'n' : ' ';
    }
    values[8] = CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
    values[9] = TimestampTzGetDatum(GetCurrentTimestamp());
    values[10] = TimestampTzGetDatum(now);
    nulls[8] = nulls[9] = nulls[10] = ' ';
    SPI_connect();
    SPI_execute_with_args(kUpsert, kColumns, types, values, nulls, false, 0);
    SPI_finish();
}

void require_primary() {
    if (!RecoveryInProgress()) return;
    ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                    errmsg("schedules cannot be changed while the server is in recovery"),
                    errhint("Change them on the primary.")));
}

Datum run_or_null(FunctionCallInfo fcinfo, TimestampTz next) {
    if (next == DT_NOEND) PG_RETURN_NULL();
    PG_RETURN_TIMESTAMPTZ(next);
}

}  // namespace
}  // namespace chronos::extension

CHRONOS_AUDITED(chronos_schedule, "schedule", failures) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary();
    require_database();
    require_arguments(fcinfo);
    const char* cron = text_argument(fcinfo, 2);
    check_name(text_argument(fcinfo, 0));
    require_cron(cron);
    pg_tz* zone = require_zone(text_argument(fcinfo, 3));
    check_options(text_argument(fcinfo, 1), fcinfo, 4);
    check_retries(PG_GETARG_INT32(5), PG_GETARG_INTERVAL_P(6));
    const TimestampTz now = schedule_now();
    store(fcinfo, now);
    if (!PG_GETARG_BOOL(7)) PG_RETURN_NULL();
    return run_or_null(fcinfo, next_run_after(cron, zone, now));
}

CHRONOS_AUDITED(chronos_unschedule, "unschedule", failures) {
    using namespace chronos::extension;
    require_preloaded();
    require_primary();
    require_database();
    Oid type = TEXTOID;
    Datum name = PG_GETARG_DATUM(0);
    SPI_connect();
    SPI_execute_with_args(kDelete, 1, &type, &name, nullptr, false, 0);
    const bool found = SPI_processed > 0;
    SPI_finish();
    PG_RETURN_BOOL(found);
}

CHRONOS_FUNCTION(chronos_next_run) {
    using namespace chronos::extension;
    require_preloaded();
    if (PG_ARGISNULL(0)) PG_RETURN_NULL();
    const char* cron = text_argument(fcinfo, 0);
    require_cron(cron);
    pg_tz* zone = require_zone(text_argument(fcinfo, 1));
    const TimestampTz after = PG_ARGISNULL(2) ? schedule_now() : PG_GETARG_TIMESTAMPTZ(2);
    if (TIMESTAMP_NOT_FINITE(after)) refuse("after must be finite");
    return run_or_null(fcinfo, next_run_after(cron, zone, after));
}

CHRONOS_FUNCTION(chronos_schedule_problem) {
    using namespace chronos::extension;
    const char* problem = schedule_problem(text_argument(fcinfo, 0), text_argument(fcinfo, 1),
                                           text_argument(fcinfo, 2));
    if (problem == nullptr) PG_RETURN_NULL();
    PG_RETURN_DATUM(CStringGetTextDatum(problem));
}

CHRONOS_FUNCTION(chronos_schedules_changed) {
    using namespace chronos::extension;
    if (!CALLED_AS_TRIGGER(fcinfo)) elog(ERROR, "not called as a trigger");
    // Without the module in shared_preload_libraries there is nobody to tell.
    if (shared != nullptr) note_change();
    return static_cast<Datum>(0);
}

/// For tests: the clock of schedules shows that time from now on, until the server restarts. The
/// extension makes no SQL function of it, and only a superuser can.
CHRONOS_FUNCTION(chronos_test_set_schedule_clock) {
    using namespace chronos::extension;
    require_preloaded();
    if (!superuser())
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("must be superuser to set the clock of schedules")));
    pg_atomic_write_u64(&shared->clock_offset_us,
                        static_cast<uint64>(PG_GETARG_TIMESTAMPTZ(0) - GetCurrentTimestamp()));
    wake_scheduler();
    PG_RETURN_VOID();
}
