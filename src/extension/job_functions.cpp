#include "chronos/base/error_kind.h"
#include "extension/audit.h"
#include "extension/engine_session.h"
#include "extension/job_calls.h"
#include "extension/job_history.h"
#include "extension/job_options.h"
#include "extension/job_queue.h"
#include "extension/postgres_api.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/steady_time.h"
#include "extension/text.h"

/// start_job, start_backup, wait, cancel, backup_now and what the views jobs and progress are made
/// of.

namespace chronos::extension {
namespace {

const JobType* require_type(FunctionCallInfo fcinfo, bool backups_only) {
    const char* name = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
    const JobType* type = find_startable_type(name);
    if (type != nullptr && (type->in_session || !backups_only)) return type;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("\"%s\" is not a type of %s", name, backups_only ? "backup" : "job"),
                    errhint("Types are %s.", job_type_names(backups_only))));
}

/// A standby has its files to offer, and nothing else that the primary would not do anyway.
void require_server_for(const JobType* type) {
    if (!RecoveryInProgress() || (type->in_session && settings.backup_role != kBackupPrimary))
        return;
    ereport(ERROR,
            (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
             errmsg("jobs cannot be started while the server is in recovery"),
             type->in_session ? errhint("A standby is backed up where chronos.backup_role is not "
                                        "'primary'; or start the job on the primary.")
                              : errhint("Start the job on the primary.")));
}

int64 submit_backup(FunctionCallInfo fcinfo) {
    require_preloaded();
    const JobType* type = require_type(fcinfo, /*backups_only=*/true);
    require_server_for(type);
    StringInfoData options;
    initStringInfo(&options);
    if (!PG_ARGISNULL(1)) append_annotations(&options, PG_GETARG_JSONB_P(1));
    return submit_job(type, &options, "annotations");
}

void require_job(int64 id, JobSlot* copy) {
    if (look_up_job(id, copy)) return;
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("there is no job %lld", static_cast<long long>(id)),
                    errhint("The view chronos.jobs lists jobs; older ones are in "
                            "chronos.job_history.")));
}

/// True if there was something to cancel. A running statement of the job is interrupted too.
bool request_cancel(int64 id) {
    bool found = false;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    JobSlot* slot = find_job(id);
    if (slot != nullptr && !is_finished(slot->state)) {
        found = true;
        slot->cancel_requested = true;
        // Within one hold of the lock: a worker that comes now finds the job cancelled, and one
        // that was a moment earlier ends it itself, once its engine has gone.
        if (slot->state != JobState::running)
            finish_slot(slot, JobState::cancelled, exit_code(ErrorKind::cancelled), "cancelled",
                        "");
        if (slot->worker_latch != nullptr) SetLatch(slot->worker_latch);
        if (slot->worker_pid != 0) kill(slot->worker_pid, SIGINT);
    }
    LWLockRelease(shared->lock);
    if (found) notify_finished();
    return found;
}

/// For PG_ENSURE_ERROR_CLEANUP: also when the session is terminated, which no PG_CATCH sees.
void cancel_at_error(int, Datum id) {
    request_cancel(DatumGetInt64(id));
}

void raise_unless_succeeded(const JobSlot* job) {
    if (job->state == JobState::succeeded && job->error[0] == '\0') return;
    if (job->state == JobState::succeeded) {
        ereport(WARNING,
                (errmsg("backup %s is complete, but %s", job->label, database_text(job->error))));
        return;
    }
    if (job->state == JobState::cancelled)
        ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("backup was cancelled")));
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
                    errmsg("backup failed: %s", database_text(job->error)),
                    job->hint[0] != '\0' ? errhint("%s", database_text(job->hint)) : 0));
}

/// Column values of a row, filled in order.
struct RowBuilder {
    Datum values[28];
    bool nulls[28];
    int next;
};

void put(RowBuilder* row, Datum value, bool is_null) {
    row->values[row->next] = value;
    row->nulls[row->next] = is_null;
    ++row->next;
}

void put_text(RowBuilder* row, const char* text) {
    put(row, *text != '\0' ? text_datum(text) : 0, *text == '\0');
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
    put_text(&row, job->requested_from);
    put_text(&row, job->schedule);
    put_time(&row, job->due_at);
    put(&row, Int32GetDatum(job->attempt), job->attempt == 0);
    put_text(&row, job->options);
    put(&row, job->phase_count > 0 ? phases_as_jsonb(job) : 0, job->phase_count == 0);
    put(&row, has_stages(job) ? stages_as_jsonb(job) : 0, !has_stages(job));
    tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
}

void put_interval(RowBuilder* row, SteadyTime since) {
    Interval* interval = static_cast<Interval*>(palloc0(sizeof(Interval)));
    interval->time = since == 0 ? 0 : Max(0, steady_now() - since);
    put(row, IntervalPGetDatum(interval), since == 0);
}

JobSlot* copy_of_jobs() {
    JobSlot* jobs = static_cast<JobSlot*>(palloc(sizeof shared->slots));
    LWLockAcquire(shared->lock, LW_SHARED);
    memcpy(static_cast<void*>(jobs), shared->slots, sizeof shared->slots);
    LWLockRelease(shared->lock);
    return jobs;
}

}  // namespace

void require_primary_for_jobs() {
    if (!RecoveryInProgress()) return;
    ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                    errmsg("jobs cannot be started while the server is in recovery"),
                    errhint("Start the job on the primary.")));
}

int64 submit_job(const JobType* type, StringInfo options, const char* what) {
    require_options_fit(options, what);
    JobRequest request = {};
    request.type = type;
    request.options = utf8_text(options->data);
    request.requested_by = utf8_text(GetUserNameFromId(GetSessionUserId(), false));
    request.requested_from = client_address();
    request.schedule = "";
    const int64 id = queue_job(&request).id;
    audit_job(id);
    return id;
}

void await_job(int64 id, int64 limit_ms, JobSlot* job) {
    const SteadyTime begin = steady_now();
    ConditionVariablePrepareToSleep(&shared->changed);
    for (;;) {
        require_job(id, job);
        if (is_finished(job->state)) break;
        const int64 left = limit_ms < 0 ? 1000 : limit_ms - (steady_now() - begin) / 1000;
        if (left <= 0) break;
        ConditionVariableTimedSleep(&shared->changed, static_cast<long>(Min(left, 1000)),
                                    wait_event(Wait::job));
    }
    ConditionVariableCancelSleep();
}

void await_own_job(int64 id, JobSlot* job) {
    PG_ENSURE_ERROR_CLEANUP(cancel_at_error, Int64GetDatum(id));
    { await_job(id, -1, job); }
    PG_END_ENSURE_ERROR_CLEANUP(cancel_at_error, Int64GetDatum(id));
}

}  // namespace chronos::extension

CHRONOS_AUDITED(chronos_start_backup, "start_backup", calls) {
    PG_RETURN_INT64(chronos::extension::submit_backup(fcinfo));
}

CHRONOS_AUDITED(chronos_start_job, "start_job", calls) {
    using namespace chronos::extension;
    require_preloaded();
    const JobType* type = require_type(fcinfo, /*backups_only=*/false);
    require_server_for(type);
    StringInfoData options;
    initStringInfo(&options);
    if (!PG_ARGISNULL(1)) {
        append_options(&options, type, PG_GETARG_JSONB_P(1));
        require_permitted(type, PG_GETARG_JSONB_P(1), GetUserId());
    }
    PG_RETURN_INT64(submit_job(type, &options, "options"));
}

CHRONOS_AUDITED(chronos_backup_now, "backup_now", calls) {
    using namespace chronos::extension;
    const int64 id = submit_backup(fcinfo);
    JobSlot job;
    await_own_job(id, &job);
    raise_unless_succeeded(&job);
    if (job.hint[0] != '\0')
        ereport(WARNING,
                (errmsg("backup %s is complete, but: %s", job.label, database_text(job.hint))));
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

CHRONOS_AUDITED(chronos_cancel, "cancel", calls) {
    using namespace chronos::extension;
    require_preloaded();
    JobSlot job;
    require_job(PG_GETARG_INT64(0), &job);
    audit_job(job.id);
    PG_RETURN_BOOL(request_cancel(PG_GETARG_INT64(0)));
}

CHRONOS_FUNCTION(chronos_current_jobs) {
    using namespace chronos::extension;
    require_preloaded();
    InitMaterializedSRF(fcinfo, 0);
    ReturnSetInfo* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    JobSlot* jobs = copy_of_jobs();
    for (int i = 0; i < kJobSlots; ++i)
        if (jobs[i].state != JobState::free) put_job(result, &jobs[i]);
    return 0;
}

CHRONOS_FUNCTION(chronos_job_times) {
    using namespace chronos::extension;
    require_preloaded();
    InitMaterializedSRF(fcinfo, 0);
    ReturnSetInfo* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    JobSlot* jobs = copy_of_jobs();
    for (int i = 0; i < kJobSlots; ++i) {
        if (jobs[i].state != JobState::running) continue;
        RowBuilder row = {};
        put(&row, Int64GetDatum(jobs[i].id), false);
        put_interval(&row, jobs[i].claimed_steady);
        put_interval(&row, jobs[i].phase_steady);
        tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
    }
    return 0;
}
