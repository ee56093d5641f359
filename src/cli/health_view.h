#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>

#include "chronos/control/message.h"
#include "chronos/ops/health/health.h"
#include "chronos/repo/local/lock.h"
#include "cli/context.h"

/// Health as `chronos health`, the server module and `chronos serve` see and show it.
namespace chronos::cli {

/// Of whoever asks, beside the rules that every way of asking has: the server cannot be asked, or
/// has fallen silent, and what only it knows is unknown.
inline constexpr const char* kSilentRule = "server_silent";

ops::health::Limits limits_of(const config::Config& config);

/// A backup that is under way, of either tool, as its lock file tells.
struct RunningBackup {
    unsigned repo_key = 1;
    std::optional<std::uint64_t> bytes_total;
    std::optional<std::uint64_t> bytes_done;
};

/// Facts that are collected together, and how old they are. Whoever shows them says so, and takes
/// them for unknown beyond `limit`.
struct FactsAge {
    UnixTime at = 0;         ///< when they were collected; 0: never
    std::int64_t age = 0;    ///< seconds
    std::int64_t limit = 0;  ///< seconds; 0: no news are expected at all
    std::string problem;     ///< why they are not known; "" if they are
};

/// What is remembered of a repository between two looks, and between two runs.
struct RepositoryMemory {
    UnixTime read_at = 0;        ///< the last time that it could be read; 0: never
    UnixTime failing_since = 0;  ///< of the first look that failed since; 0: it can be read
    std::uint64_t backups = 0;   ///< as it was then
    UnixTime newest = 0;         ///< the last moment that could be reached then
};
using RepositoryMemories = std::map<unsigned, RepositoryMemory>;

/// All that is known at a moment.
struct HealthView {
    ops::health::Snapshot snapshot;
    std::optional<ops::health::ServerFacts> server;
    std::vector<ops::health::Rule> rules;
    std::vector<RunningBackup> running;
    UnixTime now = 0;
    RepositoryMemories memories;
    ops::health::Activity activity;
    FactsAge of_repositories;
    FactsAge of_server;
    FactsAge of_jobs;
    FactsAge of_schedules;
    /// What a restore has to be told to use these repositories: "--stanza=main", "--config=..."
    std::vector<std::string> restore_options;

    ops::health::RuleState overall() const { return ops::health::overall_state(rules); }
};

/// Repositories with what our own tools have recorded in them. `last_archived`: as
/// ops::health::look_at_repositories has it; whoever can ask the server asks it before.
ops::health::Snapshot look_at_configured_repositories(
    const config::Config& config, const std::vector<repo::Repository>& repositories,
    ops::health::WalMemory& memory, const std::string& last_archived = "");
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
    ops::health::Activity activity;
    std::int64_t interval = 0;  ///< seconds until the next one is to be expected; 0: not told

    /// How old it may become before what it says is not known any more, in seconds.
    std::int64_t limit() const;
};
std::string format_health_note(const HealthNote& note);
Result<HealthNote> parse_health_note(std::string_view text);
Result<> write_health_note(const std::string& pgdata, const HealthNote& note);
/// However old it is: that is for the caller to judge. Kind not_found if there is none.
Result<HealthNote> read_health_note(const std::string& pgdata);

/// One line of a note, and of what the module tells a resident engine.
control::Message job_message(const ops::health::JobEntry& job);
ops::health::JobEntry job_of(const control::Message& message);

/// What `serve` remembers beyond its own end: since when a rule is in its state, since when a
/// repository cannot be read.
struct ServeMemory {
    ops::health::RuleMemories rules;
    RepositoryMemories repositories;
};
std::string format_serve_memory(const ServeMemory& memory);
/// What cannot be read is left out.
ServeMemory parse_serve_memory(std::string_view text);

/// What was seen of archives, kept between runs of short-lived processes.
/// `<pgdata>/pg_stat_tmp/chronos_wal`; a file that is missing or damaged is an empty memory.
ops::health::WalMemory read_wal_memory(const std::string& pgdata);
Result<> write_wal_memory(const std::string& pgdata, const ops::health::WalMemory& memory);

}  // namespace chronos::cli
