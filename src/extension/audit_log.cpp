#include "extension/audit.h"
#include "extension/heartbeat.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/text.h"
#include "extension/worker_session.h"

/// The table chronos.audit_log: rows come from the queue, from jobs that end, and from triggers of
/// the tables that people change; they go by retention alone.

namespace chronos::extension {
namespace {

constexpr const char* kInsert =
    "INSERT INTO chronos.audit_log (started_at, finished_at, operation, arguments, requested_by, "
    "role, requested_from, application, database, pid, job, outcome, sqlstate, message) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
constexpr int kColumns = 14;
constexpr const char* kPrune =
    "DELETE FROM chronos.audit_log WHERE finished_at < pg_catalog.now() - $1";

/// Only while this is set rows can be removed.
bool pruning;

/// Sessions of databases with another encoding leave entries too.
Datum text_or_null(const char* text, char* is_null) {
    *is_null = *text != '\0' ? ' ' : 'n';
    return text_datum(text);
}

/// The row that tells of a removal, in its transaction.
void record_pruning(const Interval* older_than, uint64 removed) {
    AuditEntry entry;
    begin_audit_entry(&entry, "prune_audit_log");
    const Datum age = DirectFunctionCall1(interval_out, IntervalPGetDatum(older_than));
    snprintf(entry.arguments, sizeof entry.arguments, "{\"older_than\": \"%s\"}",
             DatumGetCString(age));
    snprintf(entry.message, sizeof entry.message, "%llu rows removed",
             static_cast<unsigned long long>(removed));
    insert_audit_entry(&entry);
}

/// With SPI connected. `always`: records it where there was nothing to be removed, too.
uint64 prune(Interval* older_than, bool always) {
    Oid type = INTERVALOID;
    Datum value = IntervalPGetDatum(older_than);
    PG_TRY();
    {
        pruning = true;
        SPI_execute_with_args(kPrune, 1, &type, &value, nullptr, false, 0);
    }
    PG_FINALLY();
    { pruning = false; }
    PG_END_TRY();
    const uint64 removed = SPI_processed;
    if (removed > 0 || always) record_pruning(older_than, removed);
    return removed;
}

/// A writer that fails or is ended leaves the queue to the next one itself: of a process id alone
/// nobody knows whose it is by now.
void give_up_writing(int, Datum) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (shared->audit.writer_pid == MyProcPid) shared->audit.writer_pid = 0;
    LWLockRelease(shared->lock);
}

/// Entries that nobody else is writing, as copies, and how many there was no room for.
struct Claim {
    bool claimed;
    int count;
    int64 dropped;
};

Claim claim_entries(AuditEntry* entries) {
    Claim claim = {};
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    AuditQueue* queue = &shared->audit;
    claim.claimed = queue->writer_pid == 0;
    if (claim.claimed) {
        queue->writer_pid = MyProcPid;
        for (int64 number = queue->first; number < queue->next; ++number)
            entries[claim.count++] = queue->entries[number % AuditQueue::kRoom];
        claim.dropped = queue->dropped;
    }
    LWLockRelease(shared->lock);
    return claim;
}

void release_entries(const Claim& claim) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->audit.first += claim.count;
    shared->audit.dropped -= claim.dropped;
    shared->audit.writer_pid = 0;
    LWLockRelease(shared->lock);
}

void insert_dropped(int64 dropped) {
    AuditEntry entry;
    begin_audit_entry(&entry, "audit");
    strlcpy(entry.outcome, "failed", sizeof entry.outcome);
    snprintf(entry.message, sizeof entry.message,
             "%lld calls are recorded in the server log only: too many came at once",
             static_cast<long long>(dropped));
    insert_audit_entry(&entry);
}

void apply_retention() {
    if (settings.audit_log_retention_min == 0) return;
    Interval older_than = {};
    older_than.time = settings.audit_log_retention_min * USECS_PER_MINUTE;
    prune(&older_than, /*always=*/false);
}

void write_claimed(const AuditEntry* entries, const Claim& claim) {
    // Where there is no table, nothing is left to be done: the server log has them.
    if (begin_record("audit_log")) {
        for (int i = 0; i < claim.count; ++i) insert_audit_entry(&entries[i]);
        if (claim.dropped > 0) insert_dropped(claim.dropped);
        apply_retention();
    }
    commit_record();
    release_entries(claim);
    beat_and_rest(Subject::audit);
}

void write_entries(int64) {
    AuditEntry* entries = static_cast<AuditEntry*>(
        MemoryContextAllocHuge(TopMemoryContext, sizeof shared->audit.entries));
    PG_ENSURE_ERROR_CLEANUP(give_up_writing, static_cast<Datum>(0));
    {
        const Claim claim = claim_entries(entries);
        if (claim.claimed) write_claimed(entries, claim);
    }
    PG_END_ENSURE_ERROR_CLEANUP(give_up_writing, static_cast<Datum>(0));
    pfree(entries);
}

/// The row as JSON object.
const char* row_as_json(HeapTuple row, TupleDesc columns) {
    return TextDatumGetCString(
        DirectFunctionCall1(row_to_json, heap_copy_tuple_as_datum(row, columns)));
}

void note_rows(AuditEntry* entry, const TriggerData* trigger) {
    const TriggerEvent event = trigger->tg_event;
    if (TRIGGER_FIRED_FOR_STATEMENT(event)) return;
    TupleDesc columns = trigger->tg_relation->rd_att;
    const char* row = row_as_json(trigger->tg_trigtuple, columns);
    const bool deleted = TRIGGER_FIRED_BY_DELETE(event);
    StringInfoData json;
    initStringInfo(&json);
    if (TRIGGER_FIRED_BY_UPDATE(event))
        appendStringInfo(&json, "{\"old\": %s, \"new\": %s}", row,
                         row_as_json(trigger->tg_newtuple, columns));
    else
        appendStringInfo(&json, "{\"%s\": %s}", deleted ? "old" : "new", row);
    const char* text = utf8_text(json.data);
    if (strlen(text) < sizeof entry->arguments)
        strlcpy(entry->arguments, text, sizeof entry->arguments);
    else
        strlcpy(entry->arguments, "{\"truncated\": \"the rows are too long\"}",
                sizeof entry->arguments);
}

/// Names of what the trigger records: of a change, and of a removal.
const char* operation_of(const TriggerData* trigger) {
    const bool removes =
        TRIGGER_FIRED_BY_DELETE(trigger->tg_event) || TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event);
    const int argument = removes ? 1 : 0;
    return argument < trigger->tg_trigger->tgnargs ? trigger->tg_trigger->tgargs[argument]
                                                   : "change";
}

}  // namespace

void insert_audit_entry(const AuditEntry* entry) {
    Oid types[kColumns] = {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, JSONBOID, TEXTOID,
                           TEXTOID,        TEXTOID,        TEXTOID, TEXTOID,  INT4OID,
                           INT8OID,        TEXTOID,        TEXTOID, TEXTOID};
    Datum values[kColumns];
    char nulls[kColumns + 1] = "              ";
    values[0] = TimestampTzGetDatum(entry->started_at);
    values[1] = TimestampTzGetDatum(entry->finished_at);
    nulls[0] = entry->started_at == 0 ? 'n' : ' ';
    values[2] = text_or_null(entry->operation, &nulls[2]);
    values[3] = DirectFunctionCall1(jsonb_in, CStringGetDatum(database_json(entry->arguments)));
    values[4] = text_or_null(entry->requested_by, &nulls[4]);
    values[5] = text_or_null(entry->role, &nulls[5]);
    values[6] = text_or_null(entry->requested_from, &nulls[6]);
    values[7] = text_or_null(entry->application, &nulls[7]);
    values[8] = text_or_null(entry->database, &nulls[8]);
    values[9] = Int32GetDatum(entry->pid);
    nulls[9] = entry->pid == 0 ? 'n' : ' ';
    values[10] = Int64GetDatum(entry->job);
    nulls[10] = entry->job == 0 ? 'n' : ' ';
    values[11] = text_or_null(entry->outcome, &nulls[11]);
    values[12] = text_or_null(entry->sqlstate, &nulls[12]);
    values[13] = text_or_null(entry->message, &nulls[13]);
    SPI_execute_with_args(kInsert, kColumns, types, values, nulls, false, 0);
}

void write_audit_log() {
    if (RecoveryInProgress()) return;  // the queue keeps them until it is promoted
    try_to_record("calls in chronos.audit_log", write_entries, 0);
}

}  // namespace chronos::extension

/// A row of a table that people may change has been changed.
CHRONOS_FUNCTION(chronos_audit_change) {
    using namespace chronos::extension;
    if (!CALLED_AS_TRIGGER(fcinfo)) elog(ERROR, "not called as a trigger");
    const TriggerData* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
    AuditEntry* entry = static_cast<AuditEntry*>(palloc(sizeof(AuditEntry)));
    begin_audit_entry(entry, operation_of(trigger));
    note_rows(entry, trigger);
    SPI_connect();
    insert_audit_entry(entry);
    SPI_finish();
    return static_cast<Datum>(0);
}

CHRONOS_FUNCTION(chronos_audit_log_append_only) {
    using namespace chronos::extension;
    if (!CALLED_AS_TRIGGER(fcinfo)) elog(ERROR, "not called as a trigger");
    const TriggerData* trigger = reinterpret_cast<TriggerData*>(fcinfo->context);
    if (!pruning || !TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("chronos.audit_log can only be added to"),
                        errhint("chronos.prune_audit_log() removes old rows, and records that.")));
    return static_cast<Datum>(0);
}

CHRONOS_AUDITED(chronos_prune_audit_log, "prune_audit_log", failures) {
    using namespace chronos::extension;
    Interval* older_than = PG_GETARG_INTERVAL_P(0);
    if (older_than->month < 0 || older_than->time < 0 ||
        older_than->day + older_than->month * DAYS_PER_MONTH < 1)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("what is younger than a day cannot be removed")));
    SPI_connect();
    const uint64 removed = prune(older_than, /*always=*/true);
    SPI_finish();
    PG_RETURN_INT64(static_cast<int64>(removed));
}
