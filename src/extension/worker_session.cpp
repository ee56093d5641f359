#include "extension/worker_session.h"

#include "extension/postgres_api.h"
#include "extension/settings.h"

namespace chronos::extension {

void connect_worker() {
    char database[NAMEDATALEN];
    strlcpy(database, settings.database != nullptr ? settings.database : "postgres",
            sizeof database);
    BackgroundWorkerInitializeConnection(database, nullptr, 0);
    // Nothing that an administrator sets for sessions may cut a backup short.
    const char* const overrides[][2] = {
        {"search_path", "pg_catalog, pg_temp"},
        {"statement_timeout", "0"},
        {"lock_timeout", "0"},
        {"idle_in_transaction_session_timeout", "0"},
#if PG_VERSION_NUM >= 170000
        {"transaction_timeout", "0"},
#endif
        {"default_transaction_read_only", "off"},
    };
    for (const auto& setting : overrides)
        SetConfigOption(setting[0], setting[1], PGC_SUSET, PGC_S_OVERRIDE);
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
