#include "extension/job_history.h"

#include "extension/shared_state.h"

namespace chronos::extension {
namespace {

constexpr const char* kTableExists =
    "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = 'chronos' AND c.relname = 'job_history'";
constexpr const char* kInsert =
    "INSERT INTO chronos.job_history (id, type, state, requested_by, requested_at, started_at, "
    "finished_at, label, bytes, files, error_code, error, hint) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "
    "ON CONFLICT (id, requested_at) DO NOTHING";
constexpr int kColumns = 13;

bool has_table() {
    return SPI_execute(kTableExists, true, 1) == SPI_OK_SELECT && SPI_processed > 0;
}

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
    add(row, *text != '\0' ? CStringGetTextDatum(text) : 0, *text == '\0');
}

void add_time(Row* row, TimestampTz time) {
    add(row, TimestampTzGetDatum(time), time == 0);
}

void insert(JobSlot* job) {
    Oid types[kColumns] = {INT8OID,        TEXTOID,        TEXTOID, TEXTOID, TIMESTAMPTZOID,
                           TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, INT8OID, INT8OID,
                           INT4OID,        TEXTOID,        TEXTOID};
    Row row = {};
    add(&row, Int64GetDatum(job->id), false);
    add_text(&row, job->type);
    add_text(&row, job_state_name(job->state));
    add_text(&row, job->requested_by);
    add_time(&row, job->requested_at);
    add_time(&row, job->started_at);
    add_time(&row, job->finished_at);
    add_text(&row, job->label);
    add(&row, Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&job->bytes_done))), false);
    add(&row, Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(&job->files_done))), false);
    add(&row, Int32GetDatum(job->error_code), job->error_code == 0);
    add_text(&row, job->error);
    add_text(&row, job->hint);
    SPI_execute_with_args(kInsert, kColumns, types, row.values, row.nulls, false, 0);
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

void record() {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    JobSlot* jobs = static_cast<JobSlot*>(palloc(sizeof(JobSlot) * kJobSlots));
    const int count = collect(jobs);
    const bool writable = has_table();
    for (int i = 0; writable && i < count; ++i) insert(&jobs[i]);
    jobs = static_cast<JobSlot*>(
        memcpy(MemoryContextAlloc(TopMemoryContext, sizeof(JobSlot) * kJobSlots), jobs,
               sizeof(JobSlot) * kJobSlots));
    PopActiveSnapshot();
    SPI_finish();
    CommitTransactionCommand();
    if (writable) mark_recorded(jobs, count);
    pfree(jobs);
    pgstat_report_stat(true);
}

}  // namespace

void record_finished_jobs() {
    MemoryContext context = CurrentMemoryContext;
    PG_TRY();
    { record(); }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        ErrorData* error = CopyErrorData();
        FlushErrorState();
        AbortCurrentTransaction();
        MemoryContextSwitchTo(context);
        ereport(WARNING, (errmsg("chronos: could not record finished jobs: %s", error->message)));
        FreeErrorData(error);
    }
    PG_END_TRY();
    MemoryContextSwitchTo(context);
}

int64 last_recorded_job() {
    int64 last = 0;
    SPI_connect();
    if (has_table() &&
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
