#include "extension/engine_session.h"
#include "extension/job_history.h"
#include "extension/postgres_api.h"
#include "extension/settings.h"
#include "extension/shared_state.h"

/// start_backup, wait, cancel, backup_now and what the views jobs and progress are made of.

namespace chronos::extension {
namespace {

void check_type(const char* type) {
    if (strcmp(type, "full") == 0 || strcmp(type, "diff") == 0 || strcmp(type, "incr") == 0) return;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("\"%s\" is not a type of backup", type),
                    errhint("Types are full, diff and incr.")));
}

void require_primary() {
    if (!RecoveryInProgress()) return;
    ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                    errmsg("jobs cannot be started while the server is in recovery"),
                    errhint("Start the backup on the primary.")));
}

/// True if the text can be one half of a `key=value` option, which has a line of its own.
bool fits_in_option(const char* text, int length) {
    for (int i = 0; i < length; ++i)
        if (static_cast<unsigned char>(text[i]) < ' ') return false;
    return true;
}

/// Appends `--annotation=key=value` lines for the members of an object of texts.
void append_annotations(StringInfo options, Jsonb* annotations) {
    if (!JB_ROOT_IS_OBJECT(annotations))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("annotations must be a JSON object"),
                        errhint("For example {\"reason\": \"before upgrade\"}.")));
    JsonbIterator* iterator = JsonbIteratorInit(&annotations->root);
    JsonbValue value;
    JsonbIteratorToken token;
    bool key_is_good = false;
    while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE) {
        if (token != WJB_KEY && token != WJB_VALUE) continue;
        const bool is_text = value.type == jbvString;
        const char* text = is_text ? value.val.string.val : "";
        const int length = is_text ? value.val.string.len : 0;
        if (token == WJB_KEY)
            key_is_good = length > 0 && memchr(text, '=', static_cast<size_t>(length)) == nullptr;
        if (!is_text || !key_is_good || !fits_in_option(text, length))
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                     errmsg("annotations must have names without \"=\" and texts on one line")));
        if (token == WJB_KEY)
            appendStringInfo(options, "--annotation=%.*s=", length, text);
        else
            appendStringInfo(options, "%.*s\n", length, text);
    }
}

/// The slot for a new job: a free one, or that of the job that has been finished for longest. Under
/// the lock.
JobSlot* slot_for_new_job() {
    JobSlot* oldest = nullptr;
    for (JobSlot& slot : shared->slots) {
        if (slot.state == JobState::free) return &slot;
        if (is_finished(slot.state) && (oldest == nullptr || slot.id < oldest->id)) oldest = &slot;
    }
    return oldest;
}

void fill_slot(JobSlot* slot, int64 id, const char* type, const char* options, const char* user) {
    slot->id = id;
    slot->state = JobState::queued;
    strlcpy(slot->type, type, sizeof slot->type);
    strlcpy(slot->options, options, sizeof slot->options);
    strlcpy(slot->requested_by, user, sizeof slot->requested_by);
    slot->requested_at = GetCurrentTimestamp();
    slot->started_at = slot->finished_at = slot->phase_started_at = 0;
    slot->phase[0] = slot->label[0] = slot->error[0] = slot->hint[0] = '\0';
    slot->error_code = 0;
    slot->worker_pid = 0;
    slot->worker_latch = nullptr;
    slot->cancel_requested = slot->recorded = false;
    pg_atomic_write_u64(&slot->bytes_total, 0);
    pg_atomic_write_u64(&slot->bytes_done, 0);
    pg_atomic_write_u64(&slot->files_total, 0);
    pg_atomic_write_u64(&slot->files_done, 0);
}

/// Numbers go on where the history ends, also after a restart.
void continue_numbers() {
    LWLockAcquire(shared->lock, LW_SHARED);
    const bool known = shared->next_id != 0;
    LWLockRelease(shared->lock);
    if (known) return;
    const int64 last = last_recorded_job();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (shared->next_id == 0) shared->next_id = last + 1;
    LWLockRelease(shared->lock);
}

int64 queue_job(const char* type, const char* options) {
    const char* user = GetUserNameFromId(GetSessionUserId(), false);
    continue_numbers();
    int64 id = 0;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    const bool served = shared->launcher_pid != 0;
    JobSlot* slot = served ? slot_for_new_job() : nullptr;
    if (slot != nullptr) {
        id = shared->next_id++;
        fill_slot(slot, id, type, options, user);
        SetLatch(shared->launcher_latch);
    }
    LWLockRelease(shared->lock);
    if (!served)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("could not queue backup: the chronos launcher is not running"),
                        errhint("It needs one of max_worker_processes; see the server log.")));
    if (slot == nullptr)
        ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                        errmsg("could not queue backup: %d jobs are waiting", kJobSlots)));
    return id;
}

int64 submit(FunctionCallInfo fcinfo) {
    require_preloaded();
    require_primary();
    const char* type = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
    check_type(type);
    StringInfoData options;
    initStringInfo(&options);
    if (!PG_ARGISNULL(1)) append_annotations(&options, PG_GETARG_JSONB_P(1));
    if (options.len >= static_cast<int>(sizeof JobSlot::options))
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("annotations are longer than %d bytes",
                               static_cast<int>(sizeof JobSlot::options) - 1)));
    return queue_job(type, options.data);
}

/// A copy of the job; false if shared memory does not have it.
bool look_up(int64 id, JobSlot* copy) {
    LWLockAcquire(shared->lock, LW_SHARED);
    const JobSlot* slot = find_job(id);
    if (slot != nullptr) *copy = *slot;
    LWLockRelease(shared->lock);
    return slot != nullptr;
}

void require_job(int64 id, JobSlot* copy) {
    if (look_up(id, copy)) return;
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("there is no job %lld", static_cast<long long>(id)),
                    errhint("The view chronos.jobs lists jobs; older ones are in "
                            "chronos.job_history.")));
}

/// Sleeps until the job is finished, `limit_ms` have passed (-1: never), or the query is cancelled.
void await_job(int64 id, int64 limit_ms, JobSlot* job) {
    const TimestampTz begin = GetCurrentTimestamp();
    ConditionVariablePrepareToSleep(&shared->changed);
    for (;;) {
        require_job(id, job);
        if (is_finished(job->state)) break;
        const int64 left = limit_ms < 0 ? 1000 : limit_ms - (GetCurrentTimestamp() - begin) / 1000;
        if (left <= 0) break;
        ConditionVariableTimedSleep(&shared->changed, static_cast<long>(Min(left, 1000)),
                                    wait_event(Wait::job));
    }
    ConditionVariableCancelSleep();
}

/// True if there was something to cancel. A running statement of the job is interrupted too.
bool request_cancel(int64 id) {
    bool found = false;
    bool was_waiting = false;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    JobSlot* slot = find_job(id);
    if (slot != nullptr && !is_finished(slot->state)) {
        found = true;
        slot->cancel_requested = true;
        was_waiting = slot->state != JobState::running;
        if (slot->worker_latch != nullptr) SetLatch(slot->worker_latch);
        if (slot->worker_pid != 0) kill(slot->worker_pid, SIGINT);
    }
    LWLockRelease(shared->lock);
    if (was_waiting) finish_job(id, JobState::cancelled, 63, "cancelled", "");
    return found;
}

/// For PG_ENSURE_ERROR_CLEANUP: also when the session is terminated, which no PG_CATCH sees.
void cancel_at_error(int, Datum id) {
    request_cancel(DatumGetInt64(id));
}

void raise_unless_succeeded(const JobSlot* job) {
    if (job->state == JobState::succeeded) return;
    if (job->state == JobState::cancelled)
        ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("backup was cancelled")));
    ereport(ERROR,
            (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("backup failed: %s", job->error),
             job->hint[0] != '\0' ? errhint("%s", job->hint) : 0));
}

/// Column values of a row, filled in order.
struct RowBuilder {
    Datum values[24];
    bool nulls[24];
    int next;
};

void put(RowBuilder* row, Datum value, bool is_null) {
    row->values[row->next] = value;
    row->nulls[row->next] = is_null;
    ++row->next;
}

void put_text(RowBuilder* row, const char* text) {
    put(row, *text != '\0' ? CStringGetTextDatum(text) : 0, *text == '\0');
}

void put_time(RowBuilder* row, TimestampTz time) {
    put(row, TimestampTzGetDatum(time), time == 0);
}

void put_counter(RowBuilder* row, pg_atomic_uint64* counter) {
    put(row, Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(counter))), false);
}

void put_job(ReturnSetInfo* result, JobSlot* job) {
    RowBuilder row = {};
    put(&row, Int64GetDatum(job->id), false);
    put_text(&row, job->type);
    put_text(&row, job_state_name(job->state));
    put_text(&row, job->requested_by);
    put_time(&row, job->requested_at);
    put_time(&row, job->started_at);
    put_time(&row, job->finished_at);
    put_text(&row, job->label);
    put_counter(&row, &job->bytes_done);
    put_counter(&row, &job->files_done);
    put(&row, Int32GetDatum(job->error_code), job->error_code == 0);
    put_text(&row, job->error);
    put_text(&row, job->hint);
    put_text(&row, job->phase);
    put_time(&row, job->phase_started_at);
    put_counter(&row, &job->bytes_total);
    put_counter(&row, &job->files_total);
    put(&row, Int32GetDatum(job->worker_pid), job->worker_pid == 0);
    tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
}

}  // namespace
}  // namespace chronos::extension

CHRONOS_FUNCTION(chronos_start_backup) {
    PG_RETURN_INT64(chronos::extension::submit(fcinfo));
}

CHRONOS_FUNCTION(chronos_backup_now) {
    using namespace chronos::extension;
    const int64 id = submit(fcinfo);
    JobSlot job;
    PG_ENSURE_ERROR_CLEANUP(cancel_at_error, Int64GetDatum(id));
    { await_job(id, -1, &job); }
    PG_END_ENSURE_ERROR_CLEANUP(cancel_at_error, Int64GetDatum(id));
    raise_unless_succeeded(&job);
    PG_RETURN_TEXT_P(cstring_to_text(job.label));
}

CHRONOS_FUNCTION(chronos_wait) {
    using namespace chronos::extension;
    require_preloaded();
    if (PG_ARGISNULL(0)) PG_RETURN_NULL();
    int64 limit_ms = -1;
    if (!PG_ARGISNULL(1)) {
        const Interval* limit = PG_GETARG_INTERVAL_P(1);
        const int64 days = limit->day + int64{DAYS_PER_MONTH} * limit->month;
        limit_ms = Max(0, days * (USECS_PER_DAY / 1000) + limit->time / 1000);
    }
    JobSlot job;
    await_job(PG_GETARG_INT64(0), limit_ms, &job);
    PG_RETURN_TEXT_P(cstring_to_text(job_state_name(job.state)));
}

CHRONOS_FUNCTION(chronos_cancel) {
    using namespace chronos::extension;
    require_preloaded();
    JobSlot job;
    require_job(PG_GETARG_INT64(0), &job);
    PG_RETURN_BOOL(request_cancel(PG_GETARG_INT64(0)));
}

CHRONOS_FUNCTION(chronos_current_jobs) {
    using namespace chronos::extension;
    require_preloaded();
    InitMaterializedSRF(fcinfo, 0);
    ReturnSetInfo* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    JobSlot* jobs = static_cast<JobSlot*>(palloc(sizeof shared->slots));
    LWLockAcquire(shared->lock, LW_SHARED);
    memcpy(static_cast<void*>(jobs), shared->slots, sizeof shared->slots);
    LWLockRelease(shared->lock);
    for (int i = 0; i < kJobSlots; ++i)
        if (jobs[i].state != JobState::free) put_job(result, &jobs[i]);
    return 0;
}
