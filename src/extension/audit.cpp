#include "extension/audit.h"

#include "extension/shared_state.h"
#include "extension/text.h"

/// What a session does for chronos.audit_log: notices calls and leaves them in shared memory.

namespace chronos::extension {
namespace {

/// The call of this session that is under way.
AuditEntry* current;

const char* role_name(Oid role) {
    const char* name = GetUserNameFromId(role, /*noerr=*/true);
    return name != nullptr ? name : "";
}

/// A passphrase that somebody took for the name of its file does not go on record.
bool may_be_a_secret(const char* name, const char* value) {
    return strstr(name, "passphrase") != nullptr && *value != '/';
}

void append_argument(StringInfo json, const char* name, Oid type, Datum value) {
    Oid output_function;
    bool is_varlena;
    getTypeOutputInfo(type, &output_function, &is_varlena);
    const char* text = OidOutputFunctionCall(output_function, value);
    appendStringInfoString(json, json->len > 1 ? ", " : "");
    escape_json(json, name);
    appendStringInfoString(json, ": ");
    if (may_be_a_secret(name, text)) text = "<redacted>";
    if (type == JSONBOID || type == INT4OID || type == INT8OID)
        appendStringInfoString(json, text);
    else if (type == BOOLOID)
        appendStringInfoString(json, DatumGetBool(value) ? "true" : "false");
    else
        escape_json(json, text);
}

/// {"name": value, ...} of a call; an argument that is NULL is left out.
void append_arguments(StringInfo json, FunctionCallInfo fcinfo) {
    HeapTuple function = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
    if (!HeapTupleIsValid(function)) return;
    Oid* types = nullptr;
    char** names = nullptr;
    char* modes = nullptr;
    const int count = get_func_arg_info(function, &types, &names, &modes);
    // Of ours, those that are given come first.
    for (int i = 0; i < Min(count, fcinfo->nargs); ++i)
        if (!fcinfo->args[i].isnull)
            append_argument(json, names != nullptr ? names[i] : "", types[i],
                            fcinfo->args[i].value);
    ReleaseSysCache(function);
}

void note_arguments(AuditEntry* entry, FunctionCallInfo fcinfo) {
    StringInfoData json;
    initStringInfo(&json);
    appendStringInfoChar(&json, '{');
    append_arguments(&json, fcinfo);
    appendStringInfoChar(&json, '}');
    const char* text = utf8_text(json.data);
    if (strlen(text) >= sizeof entry->arguments) {
        // Escaped, a byte takes up to six.
        char beginning[600];
        clip_utf8(beginning, sizeof beginning, text);
        resetStringInfo(&json);
        appendStringInfoString(&json, "{\"truncated\": ");
        escape_json(&json, beginning);
        appendStringInfoChar(&json, '}');
        text = json.data;
    }
    strlcpy(entry->arguments, text, sizeof entry->arguments);
}

void wake_launcher() {
    LWLockAcquire(shared->lock, LW_SHARED);
    if (shared->launcher_latch != nullptr) SetLatch(shared->launcher_latch);
    LWLockRelease(shared->lock);
}

/// Also to the server log: it is there at once, and where no table can be written.
void leave_on_record(AuditEntry* entry, const char* outcome, int sqlstate, const char* message) {
    entry->finished_at = GetCurrentTimestamp();
    copy_clipped(entry->outcome, sizeof entry->outcome, outcome);
    copy_clipped(entry->message, sizeof entry->message, message);
    if (sqlstate != 0) strlcpy(entry->sqlstate, unpack_sql_state(sqlstate), sizeof entry->sqlstate);
    queue_audit_entry(entry);
    wake_launcher();
    ereport(LOG_SERVER_ONLY,
            (errmsg("chronos: audit: %s %s by %s as %s from %s, application \"%s\": %s%s%s",
                    entry->operation, log_text(entry->arguments), log_text(entry->requested_by),
                    log_text(entry->role), log_text(entry->requested_from),
                    log_text(entry->application), outcome, *message != '\0' ? ": " : "",
                    log_text(message)),
             errhidestmt(true)));
}

/// Exit callback: a session can be ended in the middle of a call, and no PG_CATCH sees that.
void session_ended(int, Datum) {
    if (current == nullptr) return;
    leave_on_record(current, "failed", ERRCODE_ADMIN_SHUTDOWN, "the session was ended");
    current = nullptr;
}

void note_error(AuditEntry* entry, MemoryContext context) {
    MemoryContextSwitchTo(context);
    const ErrorData* error = CopyErrorData();
    const bool cancelled = error->sqlerrcode == ERRCODE_QUERY_CANCELED;
    leave_on_record(entry, cancelled ? "cancelled" : "failed", error->sqlerrcode,
                    error->message != nullptr ? error->message : "");
}

}  // namespace

const char* client_address() {
    LOCAL_FCINFO(call, 0);
    InitFunctionCallInfoData(*call, nullptr, 0, InvalidOid, nullptr, nullptr);
    const Datum address = inet_client_addr(call);
    return call->isnull ? "local" : DatumGetCString(DirectFunctionCall1(inet_out, address));
}

void queue_audit_entry(const AuditEntry* entry) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    AuditQueue* queue = &shared->audit;
    queue->latest_at = steady_now();
    if (queue->next - queue->first < AuditQueue::kRoom)
        queue->entries[queue->next++ % AuditQueue::kRoom] = *entry;
    else
        ++queue->dropped;
    LWLockRelease(shared->lock);
}

void begin_audit_entry(AuditEntry* entry, const char* operation) {
    memset(static_cast<void*>(entry), 0, sizeof *entry);
    entry->started_at = entry->finished_at = GetCurrentTimestamp();
    strlcpy(entry->arguments, "{}", sizeof entry->arguments);
    strlcpy(entry->outcome, "succeeded", sizeof entry->outcome);
    copy_clipped(entry->operation, sizeof entry->operation, operation);
    copy_clipped(entry->requested_by, sizeof entry->requested_by, role_name(GetSessionUserId()));
    // Not the current user: that is the owner of a function that runs with its owner's rights.
    copy_clipped(entry->role, sizeof entry->role, role_name(GetOuterUserId()));
    copy_clipped(entry->requested_from, sizeof entry->requested_from, client_address());
    copy_clipped(entry->application, sizeof entry->application,
                 application_name != nullptr ? application_name : "");
    const char* database = get_database_name(MyDatabaseId);
    copy_clipped(entry->database, sizeof entry->database, database != nullptr ? database : "");
    entry->pid = MyProcPid;
}

Datum audited(const char* operation, AuditOf what, PGFunction body, FunctionCallInfo fcinfo) {
    if (shared == nullptr) return body(fcinfo);
    static bool watched = false;
    if (!watched) before_shmem_exit(session_ended, 0);
    watched = true;
    AuditEntry* entry = static_cast<AuditEntry*>(palloc(sizeof(AuditEntry)));
    begin_audit_entry(entry, operation);
    note_arguments(entry, fcinfo);
    MemoryContext context = CurrentMemoryContext;
    AuditEntry* const outer = current;
    volatile Datum result = 0;
    PG_TRY();
    {
        current = entry;
        result = body(fcinfo);
        current = outer;
    }
    PG_CATCH();
    {
        current = outer;
        note_error(entry, context);
        PG_RE_THROW();
    }
    PG_END_TRY();
    if (what == AuditOf::calls) leave_on_record(entry, "succeeded", 0, "");
    return result;
}

void audit_job(int64 id) {
    if (current != nullptr) current->job = id;
}

}  // namespace chronos::extension
