#include "extension/worker_session.h"

#include "extension/postgres_api.h"
#include "extension/session_settings.h"
#include "extension/settings.h"
#include "extension/text.h"

namespace chronos::extension {
namespace {

constexpr const char* kGivenAway =
    "SELECT o.oid, pg_catalog.pg_describe_object(given.classid, given.objid, 0) FROM ("
    "SELECT d.classid, d.objid, coalesce(c.relowner, p.proowner) AS owner "
    "FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_depend d "
    "ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid "
    "AND d.deptype = 'e' "
    "LEFT JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass "
    "AND c.oid = d.objid "
    "LEFT JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass "
    "AND p.oid = d.objid WHERE e.extname = 'chronos_backup' "
    "UNION ALL SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, n.nspowner "
    "FROM pg_catalog.pg_namespace n WHERE n.nspname = 'chronos') AS given "
    "JOIN pg_catalog.pg_roles o ON o.oid = given.owner AND NOT o.rolsuper LIMIT 1";

/// Who a worker is outside of begin_record() and commit_record(); InvalidOid where it is that
/// inside as well. A transaction that is rolled back ends as whoever began it.
Oid worker_role = InvalidOid;
int worker_context = 0;

/// For the rest of this transaction: a table that somebody has locked is given up after a while. A
/// record or a schedule must not hold up jobs.
void limit_lock_waits() {
    set_config_option("lock_timeout", "3s", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
                      false);
}

/// An object of the extension, or its schema, whose owner is no superuser.
struct GivenAway {
    Oid owner;           ///< InvalidOid if there is none
    const char* object;  ///< "table chronos.job_history"
};

/// SPI is connected.
GivenAway find_given_away() {
    if (SPI_execute(kGivenAway, true, 1) != SPI_OK_SELECT || SPI_processed == 0)
        return {InvalidOid, ""};
    bool is_null = false;
    const HeapTuple row = SPI_tuptable->vals[0];
    const TupleDesc columns = SPI_tuptable->tupdesc;
    return {DatumGetObjectId(SPI_getbinval(row, columns, 1, &is_null)),
            SPI_getvalue(row, columns, 2)};
}

void tell_given_away(int level, const GivenAway& given, const char* consequence) {
    ereport(level, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
                    errmsg("chronos: %s belongs to \"%s\", who is no superuser: %s", given.object,
                           log_text(GetUserNameFromId(given.owner, false)), consequence),
                    errhint("Give what is of chronos_backup to a superuser: REASSIGN OWNED, or "
                            "ALTER ... OWNER TO.")));
}

void become_owner() {
    const GivenAway given = find_given_away();
    if (!OidIsValid(given.owner)) return;
    tell_given_away(LOG, given, "jobs and calls are recorded as that role");
    GetUserIdAndSecContext(&worker_role, &worker_context);
    SetUserIdAndSecContext(
        given.owner, worker_context | SECURITY_RESTRICTED_OPERATION | SECURITY_LOCAL_USERID_CHANGE);
}

void become_worker() {
    if (worker_role == InvalidOid) return;
    SetUserIdAndSecContext(worker_role, worker_context);
    worker_role = InvalidOid;
}

/// What PostgreSQL says of a database that is not there names no setting.
void tell_setting(void* database) {
    errcontext("while connecting to database \"%s\", which chronos.database names",
               static_cast<const char*>(database));
}

}  // namespace

void connect_worker() {
    char database[NAMEDATALEN];
    strlcpy(database, settings.database != nullptr ? settings.database : "postgres",
            sizeof database);
    // A session that cannot begin, because somebody holds a lock on a catalog, ends some time.
    SetConfigOption("lock_timeout", "60s", PGC_SUSET, PGC_S_OVERRIDE);
#if PG_VERSION_NUM >= 170000
    // It begins in a transaction.
    SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
#endif
    ErrorContextCallback connecting = {error_context_stack, tell_setting, database};
    error_context_stack = &connecting;
    BackgroundWorkerInitializeConnection(database, nullptr, 0);
    error_context_stack = connecting.previous;
    settle_worker_session();
    SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
    pgstat_report_activity(STATE_IDLE, nullptr);
}

bool has_table(const char* table) {
    const char* query = psprintf(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = 'chronos' AND c.relname = '%s'",
        table);
    return SPI_execute(query, true, 1) == SPI_OK_SELECT && SPI_processed > 0;
}

bool begin_record(const char* table) {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    limit_lock_waits();
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    worker_role = InvalidOid;
    if (!has_table(table)) return false;
    become_owner();
    return true;
}

void commit_record() {
    become_worker();
    PopActiveSnapshot();
    SPI_finish();
    CommitTransactionCommand();
    pgstat_report_stat(true);
}

void refuse_given_away() {
    StartTransactionCommand();
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    const GivenAway given = find_given_away();
    if (OidIsValid(given.owner)) tell_given_away(ERROR, given, "nothing is asked of it");
    PopActiveSnapshot();
    SPI_finish();
    CommitTransactionCommand();
}

void try_to_record(const char* what, void (*write)(int64), int64 argument) {
    MemoryContext context = CurrentMemoryContext;
    PG_TRY();
    { write(argument); }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        ErrorData* error = CopyErrorData();
        FlushErrorState();
        AbortCurrentTransaction();
        MemoryContextSwitchTo(context);
        ereport(WARNING, (errmsg("chronos: could not record %s: %s", what, error->message)));
        FreeErrorData(error);
    }
    PG_END_TRY();
    MemoryContextSwitchTo(context);
}

}  // namespace chronos::extension
