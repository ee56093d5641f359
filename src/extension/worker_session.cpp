#include "extension/worker_session.h"

#include "extension/postgres_api.h"
#include "extension/session_settings.h"
#include "extension/settings.h"

namespace chronos::extension {

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
    BackgroundWorkerInitializeConnection(database, nullptr, 0);
    settle_worker_session();
    SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_SESSION);
    pgstat_report_activity(STATE_IDLE, nullptr);
}

void limit_lock_waits() {
    set_config_option("lock_timeout", "3s", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
                      false);
}

bool begin_record(const char* table) {
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    limit_lock_waits();
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    const char* query = psprintf(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = 'chronos' AND c.relname = '%s'",
        table);
    return SPI_execute(query, true, 1) == SPI_OK_SELECT && SPI_processed > 0;
}

void commit_record() {
    PopActiveSnapshot();
    SPI_finish();
    CommitTransactionCommand();
    pgstat_report_stat(true);
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
