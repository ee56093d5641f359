#pragma once

#include <nlohmann/json_fwd.hpp>

#include "chronos/ops/health.h"
#include "chronos/repo/lock.h"
#include "cli/context.h"

/// Health as `chronos health`, the server module and `chronos serve` see and show it.
namespace chronos::cli {

ops::health::Limits limits_of(const config::Config& config);

/// A backup that is under way, of either tool, as its lock file tells.
struct RunningBackup {
    unsigned repo_key = 1;
    std::optional<std::uint64_t> bytes_total;
    std::optional<std::uint64_t> bytes_done;
};

/// All that is known at a moment.
struct HealthView {
    ops::health::Snapshot snapshot;
    std::optional<ops::health::ServerFacts> server;
    std::vector<ops::health::Rule> rules;
    std::vector<RunningBackup> running;
    UnixTime now = 0;

    ops::health::RuleState overall() const { return ops::health::overall_state(rules); }
};

/// Repositories with what our own tools have recorded in them.
ops::health::Snapshot look_at_configured_repositories(
    const config::Config& config, const std::vector<repo::Repository>& repositories,
    ops::health::WalMemory& memory);
std::vector<RunningBackup> look_for_running_backups(
    const config::Config& config, const std::vector<repo::Repository>& repositories);

/// "healthy", "degraded" (warnings) or "unhealthy".
std::string_view health_word(ops::health::RuleState overall);
/// The object that runbooks expect: status, timestamp, last_backup_age_hours (a text), messages.
std::string health_summary_json(const HealthView& view);
nlohmann::json rules_json(const std::vector<ops::health::Rule>& rules);
/// Everything, for the dashboard.
std::string health_status_json(const HealthView& view);

/// What the server's health worker leaves for `serve`, which has no session of its own.
/// `<pgdata>/pg_stat_tmp/chronos_health`: gone with the server's statistics, never in a backup.
struct HealthNote {
    ops::health::ServerFacts server;
    ops::health::RuleMemories memories;
};
std::string format_health_note(const HealthNote& note);
Result<HealthNote> parse_health_note(std::string_view text);
Result<> write_health_note(const std::string& pgdata, const HealthNote& note);
/// Kind not_found if there is none, or only one so old that its writer must have ended.
Result<HealthNote> read_health_note(const std::string& pgdata, UnixTime now);

/// What was seen of archives, kept between runs of short-lived processes.
/// `<pgdata>/pg_stat_tmp/chronos_wal`; a file that is missing or damaged is an empty memory.
ops::health::WalMemory read_wal_memory(const std::string& pgdata);
Result<> write_wal_memory(const std::string& pgdata, const ops::health::WalMemory& memory);

}  // namespace chronos::cli
