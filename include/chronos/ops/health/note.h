#pragma once

#include <map>
#include <string>
#include <string_view>

#include "chronos/control/message.h"
#include "chronos/ops/health/health.h"

/// What one of those who look at health leaves for another one, or for its own next run.
namespace chronos::ops::health {

/// What is remembered of a repository between two looks, and between two runs.
struct RepositoryMemory {
    UnixTime read_at = 0;        ///< the last time that it could be read; 0: never
    UnixTime failing_since = 0;  ///< of the first look that failed since; 0: it can be read
    std::uint64_t backups = 0;   ///< as it was then
    UnixTime newest = 0;         ///< the last moment that could be reached then
};
using RepositoryMemories = std::map<unsigned, RepositoryMemory>;

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

}  // namespace chronos::ops::health
