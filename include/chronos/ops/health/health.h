#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/given.h"
#include "chronos/db/connection.h"
#include "chronos/repo/info.h"
#include "chronos/repo/repository.h"

/// Whether backups are what their owner believes them to be: facts of repositories and server, and
/// rules over them. Nothing here writes to a repository or takes a lock.
namespace chronos::ops::health {

/// Segments that are missing between two that are there.
struct WalGap {
    UnixTime from = 0;   ///< when the segment before them was stored; 0 if there is none
    UnixTime until = 0;  ///< when the one after them was stored; 0 if there is none
    std::string first;
    std::string last;
    std::uint64_t segments = 0;
    std::string backup;  ///< label of one that needs them; "" if only later targets do
    /// The first backup that begins behind it: from its end on moments can be reached again; "" if
    /// there is none.
    std::string next_backup;
};

/// What an archive received within an hour, by the times of its objects.
struct WalHour {
    UnixTime begin = 0;
    std::uint64_t segments = 0;
    std::uint64_t stored_bytes = 0;
};

/// Segments without a hole between them, both ends included.
struct WalRun {
    std::uint32_t first = 0;  ///< the last eight digits of its name
    std::uint32_t last = 0;
    UnixTime first_at = 0;  ///< when it was stored
    UnixTime last_at = 0;
};

/// A directory of an archive (4 GiB of WAL), as far as it is of interest here. One that is not the
/// last of its timeline does not change any more, but by expire.
struct WalDirectory {
    UnixTime looked_at = 0;
    std::vector<WalRun> runs;
    std::uint64_t segments = 0;
    std::uint64_t stored_bytes = 0;
    UnixTime newest = 0;
    std::vector<WalHour> hours;
};

/// "<repository key>/<archive id>/<16 digits>" and what was seen there.
using WalMemory = std::map<std::string, WalDirectory>;

/// A timeline that was left by another one and went on all the same.
struct Divergence {
    std::uint32_t parent = 0;
    std::uint32_t child = 0;
    std::string left;  ///< the LSN where `child` left it
    std::string last;  ///< the last segment of `parent`
    UnixTime last_stored = 0;
};

/// A timeline with WAL in the archive, to which no history file leads.
struct LostTimeline {
    std::uint32_t timeline = 0;
    /// A later timeline whose history contains the lost one; 0 if none does: then what is in its
    /// WAL cannot be recovered, up to the first backup that was taken on it.
    std::uint32_t told_by = 0;
    std::string first;        ///< the first segment
    std::string next_backup;  ///< as WalGap::next_backup
};

struct ArchiveFacts {
    repo::HistoryEntry database;
    std::vector<Divergence> divergences;
    std::vector<std::string> kept_aside;  ///< files whose name another content has
    std::string min;                      ///< first and last stored segment; "" if there is none
    std::string max;
    std::uint64_t segments = 0;
    std::uint64_t stored_bytes = 0;
    UnixTime newest = 0;             ///< when the last segment was stored
    bool has_last_archived = false;  ///< Snapshot::last_archived is there
    std::string timeline_end;        ///< last segment of its timeline; "" if there is none
    std::vector<WalGap> gaps;        ///< what retention has removed between backups is none
    std::vector<LostTimeline> lost_timelines;
    std::vector<WalHour> hours;  ///< of the last two days, ascending
};

/// The codes of `info`. Source: docs/format/commands.md, info.
enum class StatusCode : int {
    ok = 0,
    missing_stanza_path = 1,
    no_valid_backups = 2,
    missing_stanza_data = 3,
    different_across_repos = 4,
    other = 99,
};

/// A `verify` of the whole stanza that could not come to its end, while none has since.
struct UnfinishedVerifyFacts {
    UnixTime since = 0;  ///< when the first of them ended
    UnixTime finished_at = 0;
    std::string reason;
    std::uint64_t problems = 0;  ///< which it had found before
    std::string message;         ///< the first of these
};

/// How the last `verify` of the whole stanza ended.
struct VerifyFacts {
    UnixTime finished_at = 0;
    std::uint64_t problems = 0;
    std::string message;  ///< the first problem
    bool full = false;    ///< everything was read, whatever earlier runs had read
    std::uint64_t backups = 0;
    std::uint64_t wal_segments = 0;
};

/// The last restore drill.
struct DrillFacts {
    UnixTime finished_at = 0;
    bool passed = false;
    /// From nothing to a recovered server, in the last one that passed; in seconds.
    std::optional<double> recovery_time;
};

/// One of the drills on record.
struct DrillEntry {
    UnixTime finished_at = 0;
    bool passed = false;
    std::string id;
};

/// A backup that is not to be expired.
struct HoldFacts {
    std::string label;
    std::string reason;
    UnixTime since = 0;
};

struct RepositoryFacts {
    unsigned key = 1;
    std::string place;  ///< for messages
    crypto::CipherType cipher = crypto::CipherType::none;
    StatusCode status = StatusCode::ok;
    std::string problem;  ///< why it could not be read; "" if it could
    std::string way_out;  ///< of the problem, where it has one of its own
    std::vector<repo::HistoryEntry> history;
    std::uint64_t current_id = 0;
    std::vector<repo::BackupEntry> backups;  ///< ascending label
    std::vector<ArchiveFacts> archives;
    std::optional<VerifyFacts> verify;
    std::vector<VerifyFacts> verifies;  ///< the last ones, oldest first; `verify` is the last
    std::optional<UnfinishedVerifyFacts> unfinished_verify;
    std::optional<DrillFacts> drill;
    std::vector<DrillEntry> drills;  ///< the last ones, oldest first
    std::vector<HoldFacts> holds;    ///< ascending label
    std::string owner;    ///< another server that owns the stanza and is alive; "" if none does
    std::string refused;  ///< another server that was refused within the last day; "" if none was
    std::string
        beside;  ///< another server that uses the stanza on another timeline; "" if none does
    std::uint32_t beside_timeline = 0;
    bool beside_is_newer = false;  ///< its timeline is later than that of the server at hand

    /// The cluster that backups and WAL are taken of; nullptr if nothing is known.
    const repo::HistoryEntry* cluster() const;
    std::uint64_t backup_bytes() const;  ///< stored, each object once
    std::uint64_t wal_bytes() const;
};

struct Snapshot {
    UnixTime taken_at = 0;
    std::string stanza;
    std::vector<RepositoryFacts> repositories;  ///< ascending key
    /// The segment that the server believed to have been archived last, as it was before the
    /// repositories were looked at; "" if that is not known.
    std::string last_archived;
    std::optional<VerifyFacts> verify;  ///< the worst of all, as old as the oldest
    std::optional<DrillFacts> drill;    ///< the last

    StatusCode status() const;
    /// The newest of all repositories; nullptr if there is none.
    const repo::BackupEntry* latest_backup() const;
};

/// The newest of one repository, of its current cluster: those of former ones restore nothing of
/// it. nullptr if there is none.
const repo::BackupEntry* latest_backup_of(const RepositoryFacts& repository);

/// Whether it was made of damaged pages, as far as backup.info tells: then no restore takes it
/// unless it is told to.
bool has_page_errors(const repo::BackupEntry& backup);
/// As latest_backup_of(), of those that a restore takes by default.
const repo::BackupEntry* latest_restorable_of(const RepositoryFacts& repository);

/// Looks at every repository. What is wrong with one becomes its `problem`. Directories of WAL that
/// `memory` knows, and that cannot have got anything since, are not listed again for some hours:
/// an archive may have a million segments. `last_archived` is what the server said of itself
/// (ServerFacts) before this was called: what it archives meanwhile may have come too late.
Snapshot look_at_repositories(const std::vector<repo::Repository>& repositories,
                              const std::string& stanza, WalMemory& memory, UnixTime now,
                              const std::string& last_archived = "");

/// The outcome of a job of the server.
struct JobFacts {
    std::int64_t id = 0;
    std::string type;
    std::string state;
    std::string error;
    UnixTime finished_at = 0;
};

/// Something of the server's that has to happen again and again: a row of chronos.heartbeats.
struct HeartbeatFacts {
    std::string subject;     ///< "scheduler", ...
    bool late = false;       ///< a sign of life is missing
    std::int64_t seen = -1;  ///< seconds since the last; -1: none since the server was started
    std::int64_t late_by = 0;
    std::string message;  ///< what its standing still means; "" if it is not late
};

/// What the server says of itself, and the file system that its WAL is on.
struct ServerFacts {
    UnixTime at = 0;              ///< clock of this host
    std::uint64_t system_id = 0;  ///< 0: it did not tell
    std::string version;          ///< "15"
    bool in_recovery = false;
    std::string archive_mode;
    std::string foreign_archiver;   ///< the setting, if what archives is none of ours; else ""
    std::string last_archived_wal;  ///< "" if there is none yet
    UnixTime last_archived_at = 0;
    std::string last_failed_wal;
    UnixTime last_failed_at = 0;
    std::uint64_t archived_count = 0;
    std::uint64_t failed_count = 0;
    std::uint64_t ready_segments = 0;    ///< complete and not in the repository yet
    UnixTime oldest_ready = 0;           ///< since when the first of them waits; 0 if there is none
    std::uint64_t unarchived_bytes = 0;  ///< WAL written that no repository has
    /// Age of the oldest of it as chronos.wal_status has it, which knows of streamed WAL too.
    std::optional<std::int64_t> exposed_seconds;
    std::uint64_t pg_wal_bytes = 0;
    std::uint64_t disk_total_bytes = 0;  ///< of the file system of pg_wal; 0: not known
    std::uint64_t disk_free_bytes = 0;
    std::optional<JobFacts> last_backup_job;  ///< the last that ended
    std::vector<HeartbeatFacts> heartbeats;   ///< none where the module is not loaded
    /// Of the extension in the database that was asked, if it is of a release that has no
    /// heartbeats; else "".
    std::string old_sql_version;

    /// Whether there is data in it, not only what an idle server writes, that no repository has.
    bool holds_unarchived() const;
    /// Age of the oldest WAL that would be lost with this server, in seconds, if all is in a
    /// repository that was archived.
    std::int64_t data_loss_seconds() const;
};

/// Whether the stanza there is of another cluster than the server, whose WAL and backups it does
/// not take then. What it has says nothing of the server.
bool is_of_another_cluster(const RepositoryFacts& repository, const ServerFacts& server);

/// How a repository has what the server believed to have been archived last.
enum class LastArchived {
    not_told,  ///< not known, or nothing that this repository promises to have
    there,
    missing,
};
/// Where no backup of the present cluster is, or all that recovery needs begins behind it, nothing
/// is promised.
LastArchived last_archived_in(const RepositoryFacts& repository, const Snapshot& snapshot);

/// As ServerFacts has it; nullopt if what was archived last is in no repository: then more would be
/// lost than the server knows.
std::optional<std::int64_t> data_loss_seconds(const ServerFacts& server, const Snapshot& snapshot);

/// Asks the server; the file system of `<pgdata>/pg_wal` is looked at directly.
Result<ServerFacts> look_at_server(db::Connection& connection, const std::string& pgdata,
                                   UnixTime now);

/// A job of the server: waiting, running or ended. Times are 0 where there is none yet.
struct JobEntry {
    std::int64_t id = 0;
    std::string type;
    std::string state;
    std::string requested_by;
    std::string schedule;  ///< "" if somebody asked for it
    std::string phase;
    std::string label;
    std::string error;
    std::string hint;
    UnixTime requested_at = 0;
    UnixTime started_at = 0;
    UnixTime finished_at = 0;
    UnixTime due_at = 0;
    UnixTime phase_started_at = 0;
    std::uint64_t bytes_done = 0;
    std::uint64_t bytes_total = 0;  ///< 0: not known
    std::uint64_t files_done = 0;
    std::uint64_t files_total = 0;
    std::uint64_t still_for = 0;  ///< seconds that a sign of life has been due for; 0: all is well

    bool is_finished() const { return finished_at != 0; }
};

struct ScheduleEntry {
    std::string name;
    std::string type;
    std::string cron;
    std::string timezone;
    bool enabled = false;
    UnixTime next_run = 0;
    UnixTime last_due = 0;
    std::string last_state;
    std::string last_error;
};

/// What the server has done, does and is going to do.
struct Activity {
    std::vector<JobEntry> jobs;  ///< the last ones, newest first
    std::vector<ScheduleEntry> schedules;
};

/// Asks chronos.jobs and chronos.schedules; empty where the extension is not in the database.
Result<Activity> look_at_activity(db::Connection& connection);

/// When a rule is broken. A limit of 0 switches its rule off.
struct Limits {
    Given<std::chrono::seconds> backup_age;
    Given<std::chrono::seconds> backup_duration;
    Given<std::chrono::seconds> wal_lag;
    Given<std::chrono::seconds> data_loss;  ///< recovery point objective
    Given<std::chrono::seconds> verify_age;
    Given<std::chrono::seconds> drill_age;
    Given<std::chrono::seconds> recovery_time;  ///< recovery time objective
    Given<std::uint64_t> repo_size_bytes;
    Given<unsigned> repo_growth_percent;
    Given<unsigned> disk_free_percent;
};

enum class RuleState { ok, unknown, warning, critical };
std::string_view rule_state_name(RuleState state);
std::optional<RuleState> parse_rule_state(std::string_view name);

/// What a rule says of one repository.
struct RepositoryFinding {
    unsigned key = 1;
    RuleState state = RuleState::unknown;
    std::string message;
};

struct Rule {
    std::string name;    ///< stable: "backup_age", ...
    UnixTime begun = 0;  ///< of the state, where the facts themselves tell it; else 0
    RuleState state = RuleState::unknown;
    std::string value;      ///< for people: "6h 12m"
    std::string threshold;  ///< "" if there is none
    std::string message;
    std::string hint;
    std::optional<double> number;                 ///< the value: seconds, bytes, percent or a count
    UnixTime since = 0;                           ///< of the state, where that is known
    std::vector<RepositoryFinding> repositories;  ///< of rules that judge each: those they could
    std::set<unsigned> found_in;  ///< keys of the repositories in which it finds something
};

/// One row a rule, always the same rules in the same order. Without `server` those about it are
/// unknown.
std::vector<Rule> evaluate(const Snapshot& snapshot, const std::optional<ServerFacts>& server,
                           const Limits& limits, UnixTime now);

/// The worst state of all; unknown ones count as ok.
RuleState overall_state(const std::vector<Rule>& rules);

/// How a repository does: the worst state of those rules that find something in it, which they say
/// themselves. So whoever shows both shows the same.
RuleState state_of(const RepositoryFacts& repository, const std::vector<Rule>& rules);

/// What is remembered of a rule between two runs.
struct RuleMemory {
    RuleState state = RuleState::unknown;
    UnixTime since = 0;
    RuleState announced = RuleState::unknown;  ///< what receivers were last told
};
using RuleMemories = std::map<std::string, RuleMemory>;

struct Change {
    Rule rule;
    RuleState before = RuleState::unknown;
};

/// Sets `since` of every rule from what is remembered, remembers the states of now, and returns
/// those that changed from or to warning or critical. A rule that becomes unknown has not changed
/// for a receiver.
std::vector<Change> note_states(std::vector<Rule>& rules, RuleMemories& memories, UnixTime now);

/// What receivers have to be told and were not, for instance because they could not be reached.
std::vector<Change> unannounced(const std::vector<Rule>& rules, const RuleMemories& memories);

/// "6h 12m", "3d 4h", "48s"
std::string format_duration(std::int64_t seconds);

}  // namespace chronos::ops::health
