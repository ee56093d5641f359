#include "extension/session_settings.h"

#include "extension/postgres_api.h"

namespace chronos::extension {
namespace {

struct Setting {
    const char* name;
    const char* value;
};

/// How text becomes values, and values text.
constexpr Setting kForm[] = {
    {"search_path", "pg_catalog, pg_temp"},
    {"DateStyle", "ISO, YMD"},
    {"IntervalStyle", "postgres"},
    {"TimeZone", "UTC"},
    {"bytea_output", "hex"},
    {"extra_float_digits", "1"},
    {"standard_conforming_strings", "on"},
    {"quote_all_identifiers", "off"},
    {"transform_null_equals", "off"},
    {"array_nulls", "on"},
    {"xmloption", "content"},
    // Rows that a function returns go to a temporary file beyond this, of which there may be none.
    {"work_mem", "16MB"},
    // An error rather than rows that are missing.
    {"row_security", "off"},
};

/// What waits, what may be done, and in whose name.
constexpr Setting kWorker[] = {
    // A standby that is away must not stop what keeps backups going: our records are worth one
    // server's disk. What people change, they change in sessions of their own.
    {"synchronous_commit", "local"},
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
#if PG_VERSION_NUM >= 170000
    {"transaction_timeout", "0"},
    {"event_triggers", "off"},
#endif
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_read_only", "off"},
    {"default_transaction_deferrable", "off"},
    {"session_replication_role", "origin"},
    {"role", "none"},
    {"default_tablespace", ""},
    {"temp_tablespaces", ""},
    {"default_table_access_method", "heap"},
    {"temp_file_limit", "-1"},
    {"client_min_messages", "notice"},
    // What is caught is not the end of the session.
    {"exit_on_error", "off"},
    {"jit", "off"},
    {"max_parallel_workers_per_gather", "0"},
};

}  // namespace

void settle_worker_session() {
    for (const Setting& setting : kForm)
        SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
    for (const Setting& setting : kWorker)
        SetConfigOption(setting.name, setting.value, PGC_SUSET, PGC_S_OVERRIDE);
    // Minor releases brought it.
    constexpr const char* kHidesViews = "restrict_nonsystem_relation_kind";
    if (GetConfigOption(kHidesViews, /*missing_ok=*/true, /*restrict_privileged=*/false) != nullptr)
        SetConfigOption(kHidesViews, "", PGC_SUSET, PGC_S_OVERRIDE);
}

int settle_statement() {
    const int level = NewGUCNestLevel();
    for (const Setting& setting : kForm)
        set_config_option(setting.name, setting.value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                          true, 0, false);
    return level;
}

void unsettle(int level) {
    AtEOXact_GUC(/*isCommit=*/true, level);
}

}  // namespace chronos::extension
