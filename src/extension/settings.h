#pragma once

namespace chronos::extension {

/// The settings chronos.* as the server holds them. Strings belong to the server, which replaces
/// them on reload: never keep a pointer. None is a secret: those stay in the configuration file.
struct Settings {
    char* stanza;
    char* config_file;
    char* executable;
    char* database;
    char* timezone;
    int process_max;
    int log_level;  ///< a LogLevel
    int archive_timeout_s;
    int shutdown_grace_ms;
    int max_jobs;
    int backup_role;  ///< a BackupRole
    bool wal_stream;
    int wal_stream_interval_ms;
    char* http_listen;
    int health_interval_s;    ///< 0: never
    int heartbeat_timeout_s;  ///< how late a sign of life may be
    /// Limits of health rules; -1: as the configuration file has it.
    int health_backup_age_s;
    int health_backup_duration_s;
    int health_disk_free_percent;
    int health_drill_age_s;
    int health_repo_growth_percent;
    int health_repo_size_mb;
    int health_rpo_s;
    int health_rto_s;
    int health_verify_age_s;
    int health_wal_lag_s;
    char* job_start_command;
    char* job_end_command;
    int job_command_timeout_s;
    int job_history_retention_min;
    int audit_log_retention_min;  ///< 0: for ever
};

/// Which server of a cluster is backed up.
enum BackupRole { kBackupPrimary, kBackupStandby, kBackupPreferStandby, kBackupAny };

/// What the engine reports as `log level=`, in this order.
enum LogLevel { kLogError, kLogWarning, kLogInfo, kLogDetail };

extern Settings settings;

/// Defines them; while the postmaster loads shared_preload_libraries.
void define_settings();

/// The `chronos` to run: chronos.executable, by default the one that this module was installed with
/// (CHRONOS_BINDIR of the Makefile).
const char* engine_path();

/// TZ for an engine: chronos.timezone, by default the zone of the server log, so that labels and
/// log lines tell the same time.
const char* engine_time_zone();

/// The level of a name the engine sent; kLogInfo if it is none of them.
int log_level_of(const char* name);

}  // namespace chronos::extension
