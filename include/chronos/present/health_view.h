#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/ops/health/health.h"
#include "chronos/ops/health/note.h"

/// Health as `chronos health`, the server module and `chronos serve` see and show it.
namespace chronos::present {

/// Of whoever asks, beside the rules that every way of asking has: the server cannot be asked, or
/// has fallen silent, and what only it knows is unknown.
inline constexpr const char* kSilentRule = "server_silent";

/// A backup that is under way, of either tool, as its lock file tells.
struct RunningBackup {
    unsigned repo_key = 1;
    std::optional<std::uint64_t> bytes_total;
    std::optional<std::uint64_t> bytes_done;
};

/// A directory of this machine in which a server can run while it is still being restored.
struct CompletingRestore {
    std::string path;
    unsigned repo_key = 1;
    std::string label;
    std::string problem = {};  ///< why nothing is known of it; "" if something is
    std::uint64_t left_bytes = 0;
    std::uint64_t missing_bytes = 0;  ///< of those
    std::uint64_t bytes_per_second = 0;
    bool whole = false;
    bool waits_for_room = false;
};

/// Facts that are collected together, and how old they are. Whoever shows them says so, and takes
/// them for unknown beyond `limit`.
struct FactsAge {
    UnixTime at = 0;         ///< when they were collected; 0: never
    std::int64_t age = 0;    ///< seconds
    std::int64_t limit = 0;  ///< seconds; 0: no news are expected at all
    std::string problem;     ///< why they are not known; "" if they are
};

/// All that is known at a moment.
struct HealthView {
    ops::health::Snapshot snapshot;
    std::optional<ops::health::ServerFacts> server;
    std::vector<ops::health::Rule> rules;
    std::vector<RunningBackup> running;
    std::vector<CompletingRestore> completing;
    UnixTime now = 0;
    ops::health::RepositoryMemories memories;
    ops::health::Activity activity;
    FactsAge of_repositories;
    FactsAge of_server;
    FactsAge of_jobs;
    FactsAge of_schedules;
    /// What a restore has to be told to use these repositories: "--stanza=main", "--config=..."
    std::vector<std::string> restore_options;

    ops::health::RuleState overall() const { return ops::health::overall_state(rules); }
};

/// "healthy", "degraded" (warnings) or "unhealthy".
std::string_view health_word(ops::health::RuleState overall);
/// The object that runbooks expect: status, timestamp, last_backup_age_hours (a text), messages.
std::string health_summary_json(const HealthView& view);
nlohmann::json rules_json(const std::vector<ops::health::Rule>& rules);
/// Everything, for the dashboard.
std::string health_status_json(const HealthView& view);

}  // namespace chronos::present
