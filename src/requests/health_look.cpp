#include "chronos/requests/health_look.h"

#include "chronos/base/text.h"
#include "chronos/ops/mount/mount.h"
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

std::vector<present::CompletingRestore> look_for_completing_restores(const config::Config& config) {
    using ops::mount::Mount;
    std::vector<present::CompletingRestore> completing;
    const auto mounts = ops::mount::list_mounts();
    if (!mounts) return completing;
    for (const Mount& mount : *mounts) {
        if (mount.stanza != config.stanza()) continue;
        const auto number = [&](const char* fact) {
            const auto found = mount.facts.find(fact);
            return found == mount.facts.end() ? 0 : parse_uint(found->second).value_or(0);
        };
        present::CompletingRestore restore{.path = mount.path,
                                           .repo_key = mount.repo_key,
                                           .label = mount.label,
                                           .left_bytes = number("left-bytes"),
                                           .missing_bytes = number("missing-bytes"),
                                           .bytes_per_second = number("bytes-per-second"),
                                           .whole = number("whole") > 0,
                                           .waits_for_room = number("waits-for-room") > 0};
        if (mount.state == Mount::State::dead) restore.problem = "its process is gone";
        if (mount.state == Mount::State::silent) restore.problem = "its process does not answer";
        // What is only looked at is nobody's restore.
        if (restore.left_bytes > 0 || !restore.problem.empty())
            completing.push_back(std::move(restore));
    }
    return completing;
}

}  // namespace chronos::requests
