#include "extension/sql_version.h"

#include "extension/engine_process.h"
#include "extension/shared_state.h"
#include "extension/text.h"
#include "extension/version.h"

namespace chronos::extension {
namespace {

constexpr const char* kQuery =
    "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'chronos_backup'";

/// nullptr if the extension is not in this database.
const char* sql_version(MemoryContext context) {
    SPI_connect();
    const char* version = nullptr;
    if (SPI_execute(kQuery, true, 1) == SPI_OK_SELECT && SPI_processed == 1)
        version = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
    if (version != nullptr) version = MemoryContextStrdup(context, version);
    SPI_finish();
    return version;
}

}  // namespace

SqlVersion compare_sql_version() {
    const char* version = sql_version(CurrentMemoryContext);
    if (version == nullptr || strcmp(version, kModuleVersion) == 0) return {nullptr, nullptr};
    const char* remedy =
        is_newer_release(version, kModuleVersion)
            ? "Restart PostgreSQL: it runs on with the module that it was started with. (An "
              "installed module that is older has to be upgraded first.)"
            : "In this database: ALTER EXTENSION chronos_backup UPDATE.";
    return {psprintf("the SQL objects of chronos_backup are of version %s, the module that the "
                     "server runs is version %s",
                     log_text(version), kModuleVersion),
            remedy};
}

void tell_of_sql_version() {
    const SqlVersion version = compare_sql_version();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    const bool told = shared->sql_version_told;
    shared->sql_version_told = version.difference != nullptr;
    LWLockRelease(shared->lock);
    if (version.difference == nullptr || told) return;
    ereport(WARNING, (errmsg("chronos: in database \"%s\", %s",
                             log_text(get_database_name(MyDatabaseId)), version.difference),
                      errhint("%s", version.remedy)));
}

}  // namespace chronos::extension
