#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/clock.h"
#include "chronos/base/given.h"
#include "chronos/base/progress.h"
#include "chronos/pgdata/server_parameters.h"
#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/random_access.h"
#include "chronos/repo/repository.h"
#include "chronos/repo/side/outside_config.h"

/// Makes a data directory from a backup. Source: docs/format/restore.md; texts and
/// error kinds are those of pgBackRest.
namespace chronos::ops::restore {

enum class RecoveryType { default_, immediate, time, xid, lsn, name, standby, preserve, none };
enum class TargetAction { pause, promote, shutdown };

std::string_view recovery_type_name(RecoveryType type);
std::optional<RecoveryType> parse_recovery_type(std::string_view name);
std::optional<TargetAction> parse_target_action(std::string_view name);

/// A line of postgresql.auto.conf: recovery would ask for pages that a full-page image is about to
/// make, each of which would be fetched from the backup.
inline constexpr std::string_view kNoPrefetch = "recovery_prefetch = 'off'";

/// Files that a restore leaves in the backup for now, and who serves them from there as soon as the
/// restore is done. Any thread.
class LeftInBackup {
public:
    virtual ~LeftInBackup() = default;

    virtual bool leaves(const repo::ManifestFile& file) const = 0;
    /// The file is at `path`, of its size and with its attributes, and all a hole. With `sync` what
    /// is done to it is to be durable, else whoever asks makes it so.
    virtual Result<> made(const repo::ManifestFile& file, const std::string& path, bool sync) = 0;
    /// All of them are. What is written here becomes durable with the rest. `without_prefetch`:
    /// postgresql.auto.conf says kNoPrefetch, for no other reason than that files are left, and is
    /// not to when all is there.
    virtual Result<> all_made(const std::string& pg_path, bool without_prefetch) = 0;
    /// How global/pg_control is called at the end of the restore: as long as the directory is not
    /// whole no server may start on it.
    virtual std::string control_name() const = 0;
};

struct RestoreRequest {
    /// In the order in which they are asked; all that archive-get would use.
    std::vector<repo::Repository> repositories;
    /// Those that are not to be asked, and may know of more WAL; the plan says so.
    std::vector<repo::Repository> other_repositories;
    std::string stanza;
    std::string pg_path;  ///< absolute
    std::string set;      ///< a label; "" or "latest": the newest one that reaches the target

    std::optional<RecoveryType> type;  ///< nullopt: default, or none for an offline backup
    std::string target;
    std::string target_timeline;
    bool target_exclusive = false;
    TargetAction target_action = TargetAction::pause;
    std::map<std::string, std::string> recovery_options;
    /// What the server that a standby is to follow has: it may have been raised since the WAL in
    /// the archive was written.
    pgdata::ServerParameters parameters_at_least = {};
    bool archive_mode_off = false;
    std::string restore_command;  ///< what to write unless recovery_options has one

    bool delta = false;
    bool force = false;
    /// Files that had damaged pages when they were backed up are no cluster to be started unasked.
    bool page_errors_stop = true;
    /// Moves what is in the destinations aside first; not together with delta, force or preserve.
    bool save_current = false;
    std::string reason;  ///< why, for log and plan; may be ""
    /// For what runs beside the original cluster: the server is to write nowhere but in the
    /// destinations, not even what its WAL creates elsewhere, and is told so for good
    /// (pgdata::kScratchSignal).
    bool writes_nowhere_else = false;
    /// False for what is thrown away soon: nothing is synced, which on a shared file system is work
    /// for everybody on it.
    bool durable = true;
    std::map<std::string, std::string> tablespace_map;  ///< by name or oid
    std::string tablespace_map_all;
    std::map<std::string, std::string> link_map;  ///< by name relative to the data directory
    bool link_all = false;
    std::vector<std::string> db_include;  ///< by name or oid
    std::vector<std::string> db_exclude;
    /// More of which only the size is restored, by its name in the manifest: as of databases that
    /// are left out, nobody may read it then. Empty: nothing.
    std::function<bool(std::string_view name)> zeroed = {};

    /// Files are going to be left in the backup: the plan says what that means. Not together with
    /// delta or force: what is there says nothing of what is to come.
    bool instant = false;
    /// With `instant`, for run_restore().
    LeftInBackup* left_in_backup = nullptr;

    Given<unsigned> process_max;
    std::string spool_path;
    std::string lock_path;
    std::string exec_id;
    UnixTime now = 0;  ///< 0: the clock's; what relative targets count from
    /// The plan is all that is wanted: then it waits for what else run_restore() finds out beside
    /// the copying.
    bool only_plan = false;
};

/// In the data directory: what lay outside of it, each file below its former path.
inline constexpr const char* kOutsideDirectory = "chronos_config";

/// Something that keeps a restore from working.
struct RestoreProblem {
    Error error;
    bool certain = true;  ///< false: an estimate (free space), which does not stop run_restore()
};

/// Space on one file system that the restore writes to.
struct RestoreSpace {
    std::string path;
    std::uint64_t needed_bytes = 0;
    std::uint64_t free_bytes = 0;
};

/// The WAL that recovery reads, as far as the archive shows it.
struct RestoreWal {
    std::string first;  ///< segments; "" for an offline backup
    std::string last;   ///< the last one in the archive that continues from `first` on the way
    std::uint64_t count = 0;
    UnixTime last_stored = 0;          ///< when `last` was stored
    std::vector<std::string> missing;  ///< gaps before `last`, at most 16 names
    std::uint64_t missing_count = 0;
};

struct WalToRead;

/// What is restored before a server can be started, and what is left in the backup until then.
struct LeftPlan {
    struct Part {
        std::uint64_t file_count = 0;
        std::uint64_t size_bytes = 0;
        std::uint64_t stored_bytes = 0;
    };
    Part at_once;
    Part left;
    repo::RandomAccess random_access;  ///< of what is left
    bool without_prefetch = false;     ///< recovery gets kNoPrefetch until all is there
};

/// What a restore would do. Made without changing anything.
struct RestorePlan {
    unsigned repo_key = 1;
    std::size_t repository_index = 0;
    repo::Manifest manifest;  ///< mapped: destinations of this restore
    std::string original_pg_path;
    /// Configuration that lay outside of the data directory; restored into kOutsideDirectory.
    repo::OutsideConfig outside;
    std::string reason;  ///< why this backup
    RecoveryType type = RecoveryType::default_;
    bool delta = false;  ///< as asked for, unless the directory is no data directory
    bool force = false;
    bool save_current = false;

    std::optional<std::int64_t> target_us;  ///< of a time target, microseconds since 1970 UTC
    std::string target_setting;             ///< what is written to recovery_target_<type>
    Timeline backup_timeline = 0;
    /// That recovery follows to the end; written into the recovery settings, so that the server
    /// follows this one or stops. 0: not known, because there is no archive to ask.
    Timeline target_timeline = 0;
    /// The first one behind it that has no history in any archive, and no WAL: a promotion begins
    /// it. 0: not known.
    Timeline free_timeline = 0;
    /// WAL behind the target is missing: the server must not ask for it before it is there.
    bool no_reading_ahead = false;

    std::uint64_t file_count = 0;
    std::uint64_t size_bytes = 0;         ///< of all files
    std::uint64_t stored_size_bytes = 0;  ///< to read from the repository
    repo::RandomAccess random_access;     ///< of the backup, whatever is restored of it
    std::optional<LeftPlan> left;         ///< if files are left in the backup
    std::vector<RestoreSpace> space;
    RestoreWal wal;

    /// Settings that the cluster's own files make and that this recovery keeps out, for people.
    std::vector<std::string> set_aside;
    /// Names of recovery targets in those files that are not spelled in lower case.
    std::vector<std::string> spellings;
    pgdata::ServerParameters
        required_parameters;  ///< that replaying the WAL takes, as far as known
    /// Other settings to write for this recovery, by name and value.
    std::map<std::string, std::string> other_settings;
    /// The WAL from the backup on, as far as the way goes; null if there is none, or none is
    /// wanted.
    std::shared_ptr<const WalToRead> wal_to_read;
    bool wal_is_read = false;  ///< if not, it may ask for more of them: nobody waited for it

    std::vector<std::string> notes;  ///< both are written to the log by run_restore()
    std::vector<std::string> warnings;
    std::vector<RestoreProblem> problems;
};

/// Chooses the backup and looks at what a restore needs. Errors are what makes a plan impossible
/// (no such backup, a target that no backup reaches, a mapping that does not fit); what is wrong
/// with the destination is in RestorePlan::problems.
Result<RestorePlan> plan_restore(const RestoreRequest& request);

/// Whether the settings of this recovery have kNoPrefetch because files are left in the backup, and
/// for no other reason.
bool is_without_prefetch_for_now(const RestoreRequest& request, const RestorePlan& plan);

/// For people; each line ends in a line feed.
std::string format_restore_plan(const RestorePlan& plan);

struct RestoreResult {
    std::uint64_t size_bytes = 0;
    std::uint64_t file_count = 0;
    /// Lines for people: what starts the server, and what it does then. "" if that goes without
    /// saying.
    std::string next;
};

/// Does what the plan says; nothing is changed if it has a certain problem. When it fails, or is
/// killed, the directory cannot be started as a cluster (it has no global/pg_control) and can be
/// restored again with `delta`. `cancel` is honoured between pieces of files.
Result<RestoreResult> run_restore(const RestoreRequest& request, RestorePlan plan,
                                  const Cancellation& cancel, const ProgressReceiver& progress);

/// Only what run_restore() adds to the files of the backup: what recovery is told. For a data
/// directory at `request.pg_path` that has them in another way, and is thrown away afterwards. Logs
/// what the plan has to say; nothing is changed if it has a certain problem.
Result<> prepare_recovery(const RestoreRequest& request, RestorePlan& plan,
                          const Cancellation& cancel);

}  // namespace chronos::ops::restore
