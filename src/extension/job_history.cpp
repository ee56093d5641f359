#include "extension/job_history.h"
#include "chronos/base/error_kind.h"

#include "extension/audit.h"
#include "extension/settings.h"
#include "extension/text.h"
#include "extension/worker_session.h"

namespace chronos::extension {
namespace {

/// A job that is there already has been recorded at its beginning.
constexpr const char* kInsert =
    "INSERT INTO chronos.job_history AS recorded (id, type, state, requested_by, requested_from, "
    "requested_at, schedule, due_at, attempt, options, started_at, finished_at, label, bytes, "
    "files, phases, error_code, error, hint, copying) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, "
    "$20) "
    "ON CONFLICT (id, requested_at) DO UPDATE SET state = excluded.state, "
    "finished_at = excluded.finished_at, label = excluded.label, bytes = excluded.bytes, "
    "files = excluded.files, phases = excluded.phases, error_code = excluded.error_code, "
    "error = excluded.error, hint = excluded.hint, copying = excluded.copying WHERE "
    "recorded.finished_at IS NULL";
constexpr int kColumns = 20;
constexpr const char* kLost =
    "UPDATE chronos.job_history AS recorded SET state = 'failed', finished_at = now(), "
    "error_code = $1, error = '" CHRONOS_LOST_JOB
    "' "
    "WHERE finished_at IS NULL AND NOT EXISTS (SELECT FROM chronos.current_jobs() AS job "
    "WHERE job.id = recorded.id AND job.requested_at = recorded.requested_at) "
    "RETURNING id, started_at, type, requested_by, coalesce(requested_from, ''), "
    "coalesce(schedule, '')";
constexpr const char* kPrune =
    "DELETE FROM chronos.job_history WHERE finished_at < now() - make_interval(mins => $1)";

constexpr const char* kInsertReport =
    "INSERT INTO chronos.table_recoveries (job, requested_at, finished_at, report) "
    "VALUES ($1, $2, now(), $3)";
constexpr const char* kPruneReports =
    "DELETE FROM chronos.table_recoveries WHERE finished_at < now() - make_interval(mins => $1)";

/// A row for the INSERT, in the order of its columns.
struct Row {
    Datum values[kColumns];
    char nulls[kColumns + 1];
    int next;
};

void add(Row* row, Datum value, bool is_null) {
    row->values[row->next] = value;
    row->nulls[row->next] = is_null ? 'n' : ' ';
    ++row->next;
}

void add_text(Row* row, const char* text) {
    add(row, *text != '\0' ? text_datum(text) : 0, *text == '\0');
}

void add_time(Row* row, TimestampTz time) {
    add(row, TimestampTzGetDatum(time), time == 0);
}

void add_number(Row* row, pg_atomic_uint64* counter, bool is_null) {
    add(row, Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(counter))), is_null);
}

/// {"type": "full", "options": ["--repo=1"], ...}, in UTF-8 as what it is made of.
char* description_of(const JobSlot* job) {
    StringInfoData json;
    initStringInfo(&json);
    appendStringInfo(&json, "{\"type\": \"%s\"", job->type);
    const char* const texts[][2] = {
        {"schedule", job->schedule}, {"options", job->options}, {"label", job->label}};
    for (const auto& text : texts) {
        if (*text[1] == '\0') continue;
        appendStringInfo(&json, ", \"%s\": ", text[0]);
        escape_json(&json, text[1]);
    }
    appendStringInfoChar(&json, '}');
    return json.data;
}

/// How the job has ended, for chronos.audit_log. By way of the queue: whatever becomes of that
/// table, jobs and schedules do not wait for it.
void audit(const JobSlot* job) {
    AuditEntry entry = {};
    entry.started_at = job->started_at;
    entry.finished_at = job->finished_at;
    entry.job = job->id;
    strlcpy(entry.operation, "job", sizeof entry.operation);
    const char* description = description_of(job);
    // Escaped, options may have grown; chronos.job_history has them whole.
    if (strlen(description) >= sizeof entry.arguments)
        description = psprintf("{\"type\": \"%s\"}", job->type);
    strlcpy(entry.arguments, description, sizeof entry.arguments);
    strlcpy(entry.requested_by, job->requested_by, sizeof entry.requested_by);
    strlcpy(entry.requested_from, job->requested_from, sizeof entry.requested_from);
    strlcpy(entry.outcome, job_state_name(job->state), sizeof entry.outcome);
    clip_utf8(entry.message, sizeof entry.message, job->error);
    queue_audit_entry(&entry);
}

/// Whether that is news.
bool insert(JobSlot* job) {
    Oid types[kColumns] = {INT8OID,        TEXTOID,        TEXTOID,        TEXTOID, TEXTOID,
                           TIMESTAMPTZOID, TEXTOID,        TIMESTAMPTZOID, INT4OID, TEXTOID,
                           TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,        INT8OID, INT8OID,
                           JSONBOID,       INT4OID,        TEXTOID,        TEXTOID, JSONBOID};
    const bool unknown = job->state == JobState::skipped;
    Row row = {};
    add(&row, Int64GetDatum(job->id), false);
    add_text(&row, job->type);
    add_text(&row, job_state_name(job->state));
    add_text(&row, job->requested_by);
    add_text(&row, job->requested_from);
    add_time(&row, job->requested_at);
    add_text(&row, job->schedule);
    add_time(&row, job->due_at);
    add(&row, Int32GetDatum(job->attempt), job->attempt == 0);
    add_text(&row, job->options);
    add_time(&row, job->started_at);
    add_time(&row, job->finished_at);
    add_text(&row, job->label);
    add_number(&row, &job->bytes_done, unknown);
    add_number(&row, &job->files_done, unknown);
    add(&row, job->phase_count > 0 ? phases_as_jsonb(job) : 0, job->phase_count == 0);
    add(&row, Int32GetDatum(job->error_code), job->error_code == 0);
    add_text(&row, job->error);
    add_text(&row, job->hint);
    add(&row, has_stages(job) ? stages_as_jsonb(job) : 0, !has_stages(job));
    SPI_execute_with_args(kInsert, kColumns, types, row.values, row.nulls, false, 0);
    // Not where the row was there.
    return SPI_processed > 0;
}

void prune() {
    if (settings.job_history_retention_min == 0) return;
    Oid type = INT4OID;
    Datum value = Int32GetDatum(settings.job_history_retention_min);
    SPI_execute_with_args(kPrune, 1, &type, &value, nullptr, false, 0);
    // Not there before the extension was updated.
    if (has_table("table_recoveries"))
        SPI_execute_with_args(kPruneReports, 1, &type, &value, nullptr, false, 0);
}

/// In memory that outlives transactions; free it with pfree().
JobSlot* room_for_jobs() {
    return static_cast<JobSlot*>(MemoryContextAllocHuge(TopMemoryContext, sizeof shared->slots));
}

/// Of the job at hand, for record_report().
const char* report_to_record;

void record_report(int64 id) {
    JobSlot* job = room_for_jobs();
    const bool found = look_up_job(id, job);
    if (begin_record("table_recoveries") && found) {
        Oid types[] = {INT8OID, TIMESTAMPTZOID, JSONBOID};
        Datum values[] = {
            Int64GetDatum(id), TimestampTzGetDatum(job->requested_at),
            DirectFunctionCall1(jsonb_in, CStringGetDatum(database_json(report_to_record)))};
        SPI_execute_with_args(kInsertReport, 3, types, values, nullptr, false, 0);
    }
    commit_record();
    pfree(job);
}

/// Copies of the finished jobs that have not been recorded; their number.
int collect(JobSlot* jobs) {
    int count = 0;
    LWLockAcquire(shared->lock, LW_SHARED);
    for (const JobSlot& slot : shared->slots)
        if (is_finished(slot.state) && !slot.recorded) jobs[count++] = slot;
    LWLockRelease(shared->lock);
    return count;
}

void mark_recorded(const JobSlot* jobs, int count) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    for (int i = 0; i < count; ++i) {
        JobSlot* slot = find_job(jobs[i].id);
        if (slot != nullptr) slot->recorded = true;
    }
    LWLockRelease(shared->lock);
}

void record_started(int64 id) {
    JobSlot* job = room_for_jobs();
    const bool found = look_up_job(id, job);
    if (begin_record("job_history") && found) insert(job);
    commit_record();
    pfree(job);
}

void record_finished(int64) {
    JobSlot* jobs = room_for_jobs();
    const int count = collect(jobs);
    const bool writable = begin_record("job_history");
    bool news[kJobSlots] = {};
    for (int i = 0; writable && i < count; ++i) news[i] = insert(&jobs[i]);
    if (writable) prune();
    commit_record();
    // Where there is no history, nothing is left to be done either.
    mark_recorded(jobs, count);
    for (int i = 0; i < count; ++i)
        if (news[i]) audit(&jobs[i]);
    pfree(jobs);
}

}  // namespace

// What a standby cannot write stays in shared memory: promoted, it is caught up with.
void record_started_job(int64 id) {
    if (RecoveryInProgress()) return;
    try_to_record("jobs", record_started, id);
}

void record_recovered_tables(int64 id, const char* report) {
    report_to_record = report;
    try_to_record("recovered tables", record_report, id);
}

void record_finished_jobs() {
    if (RecoveryInProgress()) return;
    try_to_record("jobs", record_finished, 0);
}

void record_lost_jobs() {
    Oid types[] = {INT4OID};
    Datum values[] = {Int32GetDatum(exit_code(ErrorKind::internal))};
    if (SPI_execute_with_args(kLost, 1, types, values, nullptr, false, 0) !=
        SPI_OK_UPDATE_RETURNING)
        return;
    JobSlot* job = static_cast<JobSlot*>(palloc0(sizeof(JobSlot)));
    for (uint64 i = 0; i < SPI_processed; ++i) {
        const HeapTuple row = SPI_tuptable->vals[i];
        const TupleDesc columns = SPI_tuptable->tupdesc;
        bool is_null = false;
        job->id = DatumGetInt64(SPI_getbinval(row, columns, 1, &is_null));
        const Datum started = SPI_getbinval(row, columns, 2, &is_null);
        job->started_at = is_null ? 0 : DatumGetTimestampTz(started);
        job->finished_at = GetCurrentTimestamp();
        strlcpy(job->type, SPI_getvalue(row, columns, 3), sizeof job->type);
        copy_clipped(job->requested_by, sizeof job->requested_by, SPI_getvalue(row, columns, 4));
        copy_clipped(job->requested_from, sizeof job->requested_from,
                     SPI_getvalue(row, columns, 5));
        copy_clipped(job->schedule, sizeof job->schedule, SPI_getvalue(row, columns, 6));
        job->state = JobState::failed;
        strlcpy(job->error, CHRONOS_LOST_JOB, sizeof job->error);
        audit(job);
    }
}

Datum phases_as_jsonb(const JobSlot* job) {
    StringInfoData text;
    initStringInfo(&text);
    for (int i = 0; i < job->phase_count; ++i) {
        appendStringInfoString(&text, i == 0 ? "{" : ", ");
        escape_json(&text, job->phases[i].name);
        appendStringInfo(&text, ": %.3f", static_cast<double>(job->phases[i].us) / 1e6);
    }
    appendStringInfoChar(&text, '}');
    return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data));
}

bool has_stages(const JobSlot* job) {
    return job->copying.read_ms + job->copying.compute_ms + job->copying.store_ms +
               job->copying.clock_ms >
           0;
}

Datum stages_as_jsonb(const JobSlot* job) {
    const CopyStages& stages = job->copying;
    const char* text = psprintf(
        "{\"read\": %.3f, \"compute\": %.3f, \"store\": %.3f, \"clock\": %.3f, \"bytes\": %lld, "
        "\"stored_bytes\": %lld}",
        static_cast<double>(stages.read_ms) / 1e3, static_cast<double>(stages.compute_ms) / 1e3,
        static_cast<double>(stages.store_ms) / 1e3, static_cast<double>(stages.clock_ms) / 1e3,
        static_cast<long long>(stages.bytes), static_cast<long long>(stages.stored_bytes));
    return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

int64 last_recorded_job() {
    int64 last = 0;
    SPI_connect();
    if (has_table("job_history") &&
        SPI_execute("SELECT pg_catalog.max(id) FROM chronos.job_history", true, 1) ==
            SPI_OK_SELECT &&
        SPI_processed == 1) {
        bool is_null = true;
        const Datum value =
            SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
        if (!is_null) last = DatumGetInt64(value);
    }
    SPI_finish();
    return last;
}

}  // namespace chronos::extension
