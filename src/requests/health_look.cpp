#include "chronos/requests/health_look.h"

#include "chronos/repo/local/lock.h"

namespace chronos::requests {
namespace {

std::chrono::seconds seconds_of(const config::Config& config, config::TimeName option) {
    return std::chrono::duration_cast<std::chrono::seconds>(config.get_time(option));
}

}  // namespace

ops::health::Limits limits_of(const config::Config& config) {
    ops::health::Limits limits;
    limits.backup_age = seconds_of(config, "health-backup-age");
    limits.backup_duration = seconds_of(config, "health-backup-duration");
    limits.wal_lag = seconds_of(config, "health-wal-lag");
    limits.data_loss = seconds_of(config, "health-rpo");
    limits.verify_age = seconds_of(config, "health-verify-age");
    limits.drill_age = seconds_of(config, "health-drill-age");
    limits.recovery_time = seconds_of(config, "health-rto");
    limits.repo_size_bytes = config.get_size("health-repo-size");
    limits.repo_growth_percent = static_cast<unsigned>(config.get_int("health-repo-growth"));
    limits.disk_free_percent = static_cast<unsigned>(config.get_int("health-disk-free"));
    return limits;
}

ops::health::AlertSettings alert_settings(const config::Config& config) {
    return {.webhook_url = config.get_string("alert-webhook-url"),
            .slack_url = config.get_string("alert-slack-url"),
            .pagerduty_key = config.get_string("alert-pagerduty-key"),
            .pagerduty_url = config.get_string("alert-pagerduty-url"),
            .command = config.get_string("alert-command"),
            .user_agent = "chronos_backup/" CHRONOS_VERSION};
}

ops::health::Snapshot look_at_configured_repositories(
    const config::Config& config, const std::vector<repo::Repository>& repositories,
    ops::health::WalMemory& memory, const std::string& last_archived) {
    return ops::health::look_at_repositories(repositories, config.stanza(), memory, unix_now(),
                                             last_archived);
}

std::vector<present::RunningBackup> look_for_running_backups(
    const config::Config& config, const std::vector<repo::Repository>& repositories) {
    std::vector<present::RunningBackup> running;
    for (const repo::Repository& repository : repositories) {
        const repo::LockState lock =
            repo::look_at_lock({config.get_string("lock-path"), config.stanza(),
                                repo::LockType::backup, repository.key, ""});
        if (lock.held)
            running.push_back({repository.key, lock.size_bytes, lock.size_complete_bytes});
    }
    return running;
}

}  // namespace chronos::requests
