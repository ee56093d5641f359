#include "extension/settings.h"

#include "extension/postgres_api.h"
#include "extension/stanza_name.h"

namespace chronos::extension {

Settings settings;

namespace {

const config_enum_entry kLogLevels[] = {{"error", kLogError, false},
                                        {"warning", kLogWarning, false},
                                        {"info", kLogInfo, false},
                                        {"detail", kLogDetail, false},
                                        {nullptr, 0, false}};

const config_enum_entry kBackupRoles[] = {{"primary", kBackupPrimary, false},
                                          {"standby", kBackupStandby, false},
                                          {"prefer_standby", kBackupPreferStandby, false},
                                          {"any", kBackupAny, false},
                                          {nullptr, 0, false}};

/// Check hooks run in the postmaster too: they report by return value and never raise.
bool check_stanza(char** value, void**, GucSource) {
    const char* problem = stanza_problem(*value != nullptr ? *value : "");
    if (problem == nullptr) return true;
    GUC_check_errdetail("It cannot be the name of a stanza: %s.", problem);
    return false;
}

bool check_absolute_path(char** value, void**, GucSource) {
    if (*value == nullptr || **value == '\0' || **value == '/') return true;
    GUC_check_errdetail("The path must be absolute.");
    return false;
}

bool check_time_zone(char** value, void**, GucSource) {
    if (*value == nullptr || **value == '\0' || pg_tzset(*value) != nullptr) return true;
    GUC_check_errdetail("There is no time zone \"%s\".", *value);
    return false;
}

void define_text(const char* name, const char* description, char** variable, const char* boot_value,
                 GucContext context, int flags, GucStringCheckHook check) {
    DefineCustomStringVariable(name, description, nullptr, variable, boot_value, context, flags,
                               check, nullptr, nullptr);
}

void define_number(const char* name, const char* description, int* variable, int boot_value,
                   int smallest, int largest, int flags) {
    DefineCustomIntVariable(name, description, nullptr, variable, boot_value, smallest, largest,
                            PGC_SIGHUP, flags, nullptr, nullptr, nullptr);
}

void define_limit(const char* name, const char* description, int* variable, int largest, int unit) {
    define_number(name, description, variable, -1, -1, largest, unit);
}

/// -1 leaves a limit to the configuration file, where `chronos health` and `chronos serve` find it
/// too.
void define_health_settings() {
    define_number("chronos.health_interval",
                  "How often health is checked and changes are told; 0 for never.",
                  &settings.health_interval_s, 60, 0, 3600, GUC_UNIT_S);
    define_number("chronos.heartbeat_timeout",
                  "How late a sign of life of the launcher, the scheduler, the archiver and the "
                  "like may be before health tells that they stand still.",
                  &settings.heartbeat_timeout_s, 60, 5, 3600, GUC_UNIT_S);
    define_limit("chronos.health_backup_age",
                 "Age of the last backup that is critical; 0 for none, -1 for health-backup-age.",
                 &settings.health_backup_age_s, INT_MAX, GUC_UNIT_S);
    define_limit("chronos.health_backup_duration",
                 "Duration of a backup worth a warning; 0 for none, -1 for health-backup-duration.",
                 &settings.health_backup_duration_s, INT_MAX, GUC_UNIT_S);
    define_limit("chronos.health_disk_free",
                 "Percentage free on the disk of pg_wal below which it is critical; 0 for none, -1 "
                 "for health-disk-free.",
                 &settings.health_disk_free_percent, 50, 0);
    define_limit("chronos.health_drill_age",
                 "Time without a restore drill worth a warning; 0 for none, -1 for "
                 "health-drill-age.",
                 &settings.health_drill_age_s, INT_MAX, GUC_UNIT_S);
    define_limit("chronos.health_repo_growth",
                 "Growth between two full backups worth a warning, in percent; 0 for none, -1 for "
                 "health-repo-growth.",
                 &settings.health_repo_growth_percent, 1000000, 0);
    define_limit("chronos.health_repo_size",
                 "Size of a repository worth a warning; 0 for none, -1 for health-repo-size.",
                 &settings.health_repo_size_mb, INT_MAX, GUC_UNIT_MB);
    define_limit("chronos.health_rpo",
                 "Recovery point objective: how much may be lost, as time; 0 for none, -1 for "
                 "health-rpo.",
                 &settings.health_rpo_s, INT_MAX, GUC_UNIT_S);
    define_limit("chronos.health_rto",
                 "Recovery time objective: how long restore and recovery may take; 0 for none, -1 "
                 "for health-rto.",
                 &settings.health_rto_s, INT_MAX, GUC_UNIT_S);
    define_limit("chronos.health_verify_age",
                 "Time without a verify worth a warning; 0 for none, -1 for health-verify-age.",
                 &settings.health_verify_age_s, INT_MAX, GUC_UNIT_S);
    define_limit("chronos.health_wal_lag",
                 "How long WAL may wait for the archiver before it is critical; 0 for ever, -1 for "
                 "health-wal-lag.",
                 &settings.health_wal_lag_s, INT_MAX, GUC_UNIT_S);
}

}  // namespace

void define_settings() {
    define_text("chronos.stanza", "Name of this cluster in the repository.", &settings.stanza,
                "main", PGC_SIGHUP, 0, check_stanza);
    // Paths decide what the server's operating system user reads and runs, so a database superuser
    // cannot set them through ALTER SYSTEM.
    define_text("chronos.config_file",
                "Configuration file of the repository; empty to search the usual places.",
                &settings.config_file, "", PGC_SIGHUP, GUC_DISALLOW_IN_AUTO_FILE,
                check_absolute_path);
    define_text("chronos.executable", "The chronos executable.", &settings.executable,
                CHRONOS_EXECUTABLE, PGC_POSTMASTER, GUC_DISALLOW_IN_AUTO_FILE, check_absolute_path);
    define_text("chronos.database", "Database in which jobs work and keep their history.",
                &settings.database, "postgres", PGC_SIGHUP, 0, nullptr);
    define_text("chronos.timezone",
                "Time zone of backup labels and of the engine's output; empty for log_timezone.",
                &settings.timezone, "", PGC_SIGHUP, 0, check_time_zone);
    define_number("chronos.process_max",
                  "Threads of an engine; 0 to take process-max of the configuration file.",
                  &settings.process_max, 0, 0, 999, 0);
    DefineCustomEnumVariable("chronos.log_level", "What engines write to the server log.", nullptr,
                             &settings.log_level, kLogInfo, kLogLevels, PGC_SIGHUP, 0, nullptr,
                             nullptr, nullptr);
    define_number("chronos.archive_timeout",
                  "After this time the push of a WAL file counts as failed and is tried again.",
                  &settings.archive_timeout_s, 60, 1, 86400, GUC_UNIT_S);
    define_number("chronos.shutdown_grace",
                  "How long a shutdown waits for the push of a WAL file that is under way.",
                  &settings.shutdown_grace_ms, 1000, 0, 600000, GUC_UNIT_MS);
    define_number("chronos.max_jobs", "Jobs that run at the same time.", &settings.max_jobs, 2, 1,
                  16, 0);
    DefineCustomEnumVariable("chronos.backup_role",
                             "Which server of a cluster scheduled backups are of.", nullptr,
                             &settings.backup_role, kBackupPrimary, kBackupRoles, PGC_SIGHUP, 0,
                             nullptr, nullptr, nullptr);
    define_text("chronos.job_start_command",
                "Shell command before each job; if it fails, so does the job.",
                &settings.job_start_command, "", PGC_SIGHUP, GUC_DISALLOW_IN_AUTO_FILE, nullptr);
    define_text("chronos.job_end_command", "Shell command after each job.",
                &settings.job_end_command, "", PGC_SIGHUP, GUC_DISALLOW_IN_AUTO_FILE, nullptr);
    define_number("chronos.job_command_timeout",
                  "After this time a command before or after a job is killed.",
                  &settings.job_command_timeout_s, 300, 1, 86400, GUC_UNIT_S);
    define_number("chronos.job_history_retention",
                  "How long finished jobs stay in chronos.job_history; 0 for ever.",
                  &settings.job_history_retention_min, 30 * 24 * 60, 0, INT_MAX, GUC_UNIT_MIN);
    define_number("chronos.audit_log_retention",
                  "How long calls stay in chronos.audit_log; 0 for ever.",
                  &settings.audit_log_retention_min, 0, 0, INT_MAX, GUC_UNIT_MIN);
    DefineCustomBoolVariable("chronos.wal_stream",
                             "Stores WAL before its segment is complete, to lose less.", nullptr,
                             &settings.wal_stream, false, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
    define_number("chronos.wal_stream_interval", "Time between two looks for WAL to stream.",
                  &settings.wal_stream_interval_ms, 5000, 100, 3600000, GUC_UNIT_MS);
    define_text("chronos.http_listen",
                "Address and port on which health, metrics and a dashboard are served, such as "
                "localhost:8080; empty for none.",
                &settings.http_listen, "", PGC_SIGHUP, 0, nullptr);
    define_health_settings();
    MarkGUCPrefixReserved("chronos");
}

const char* engine_path() {
    const bool set = settings.executable != nullptr && *settings.executable != '\0';
    return set ? settings.executable : CHRONOS_EXECUTABLE;
}

const char* engine_time_zone() {
    if (settings.timezone != nullptr && *settings.timezone != '\0') return settings.timezone;
    return log_timezone != nullptr ? pg_get_timezone_name(log_timezone) : "";
}

int log_level_of(const char* name) {
    for (const config_enum_entry* entry = kLogLevels; entry->name != nullptr; ++entry)
        if (name != nullptr && strcmp(entry->name, name) == 0) return entry->val;
    return kLogInfo;
}

}  // namespace chronos::extension
