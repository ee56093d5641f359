#pragma once

#include <chrono>
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
#include "chronos/base/result.h"

/// A restore drill: a backup is restored into a scratch directory, started as a server that nobody
/// but the drill can reach, asked questions, stopped and removed. What proves a backup.
///
/// The restore itself is the caller's: this verb owns the directory, the server and the verdict.
/// The record of a finished drill is kept in the repository: include/chronos/repo/side/drill.h.
namespace chronos::ops::drill {

/// One question and the answer that is right.
struct Assertion {
    std::string database;
    std::string sql;             ///< one statement that returns one value
    std::string expected = "t";  ///< as PostgreSQL prints it
};

/// "SELECT ..." must return true; "SELECT ... => 42" must return 42. Statements end with ';' at the
/// end of a line, or with the text; lines of "--" or '#' are comments; "\connect name" chooses the
/// database for what follows. Kind option_invalid_value, naming the line.
Result<std::vector<Assertion>> parse_assertions(std::string_view text, const std::string& database);

struct DrillRequest {
    std::string stanza;
    std::string scratch_parent;  ///< where scratch directories are made
    std::string to;              ///< the scratch directory itself: new, or empty; "": one is made
    bool keep = false;           ///< leave directory behind, server stopped
    Given<unsigned> port;        ///< names the socket; nothing listens on TCP
    std::string bin_path;        ///< of postgres; "": looked for
    std::string own_path;        ///< of this program: where it is looked for first
    std::string preload;         ///< shared_preload_libraries
    std::map<std::string, std::string> settings;  ///< more of the server's; not those of safety
    std::string database;                         ///< where facts are asked
    std::vector<std::string> users;               ///< superusers to try, the likeliest first
    std::vector<Assertion> assertions;
    std::vector<std::string> commands;  ///< for sh -c, with PGHOST, PGPORT, PGUSER, PGDATABASE
    bool amcheck = false;
    Given<std::chrono::milliseconds> recovery_timeout;
    Given<std::chrono::milliseconds> query_timeout;
    /// Asked while the server runs: an error is why it cannot go on.
    std::function<Result<>()> check_data = {};
};

/// What was restored, told by the caller.
struct RestoredBackup {
    unsigned repo_key = 1;
    std::string label;
    std::string type;    ///< of the recovery: "default", "time", ...
    std::string target;  ///< as asked for; "" without one
    std::optional<UnixTime> target_time;
    std::string reason;  ///< why this backup
    UnixTime backup_stop = 0;
    std::string pg_version;  ///< "15"
    std::uint64_t size_bytes = 0;
    std::uint64_t file_count = 0;
    std::uint64_t wal_segments = 0;  ///< expected to be replayed
    /// What a server that takes sessions while it recovers must have at least as high as the
    /// cluster had, by name.
    std::map<std::string, std::uint64_t> required_settings = {};
    /// What was fetched of one that was not restored, and is read as it is needed; of others none.
    std::optional<std::uint64_t> fetched_bytes = std::nullopt;
};

/// Directories of a drill, all below one.
struct Scratch {
    std::string path;
    std::string data() const { return path + "/data"; }
    std::string tablespaces() const { return path + "/tablespaces"; }
    /// Of a look: where the backup is seen, which has the data directory in it, and where what the
    /// server writes is kept.
    std::string mount() const { return path + "/mount"; }
    std::string written() const { return path + "/written"; }
    std::string spool() const { return path + "/spool"; }
    std::string lock() const { return path + "/lock"; }
    std::string socket() const { return path + "/socket"; }
    std::string log() const { return path + "/server.log"; }
};

/// Restores into scratch.data(), or shows it there, with the WAL to be fetched by restore_command
/// and recovery_target_action = promote. `backup` is filled as far as it is known, also on failure.
/// What it returns goes when the server has ended, and before the directory does.
using Restore =
    std::function<Result<std::shared_ptr<void>>(const Scratch& scratch, RestoredBackup& backup)>;

struct CheckOutcome {
    std::string kind;  ///< "assert", "amcheck", "command"
    std::string text;  ///< what was asked
    std::string expected;
    std::string actual;  ///< what came; an error's message if none did. For whoever asked only.
    bool passed = false;
    double seconds = 0;
    std::string verdict = "";  ///< `actual` without any data, for the record: "as expected", ...
};

struct DatabaseFacts {
    std::string name;
    std::uint64_t tables = 0;  ///< rows of pg_tables outside of the system schemas
    std::uint64_t size_bytes = 0;
};

struct DrillReport {
    std::string stanza;
    UnixTime started = 0;
    UnixTime finished = 0;
    RestoredBackup backup;
    bool passed = false;
    std::string failed_phase;  ///< "restore", "start", "recover", "check"; "" when passed
    std::string failure;       ///< message
    std::string failure_hint;
    int failure_code = 0;  ///< value of an ErrorKind

    double restore_seconds = 0;
    double recovery_seconds = 0;  ///< from the start of the server to its first answer
    double check_seconds = 0;

    std::string server_version;              ///< "PostgreSQL 15.7 (...) on ..."
    std::optional<UnixTime> last_commit;     ///< of the last transaction replayed
    std::string last_commit_text;            ///< with fraction and zone; "" if none was
    std::string last_lsn;                    ///< last one replayed
    std::optional<std::int64_t> data_age_s;  ///< from last commit to the target, or to the start
    std::vector<DatabaseFacts> databases;
    std::vector<CheckOutcome> checks;
    std::string kept_path;      ///< with keep
    std::string start_command;  ///< with keep: what starts the server again
};

/// Whether the drill would restore into a data directory: backups would hold what it makes there,
/// and what it leaves when it is killed. Kind option_invalid_value.
Result<> check_place(const DrillRequest& request);

/// Leftovers of dead drills in `scratch_parent` are removed first. Errors are what keeps a drill
/// from being one (root, no directory, cancelled); everything that says something about the backup
/// is in the report. Whatever happens, server and directory are gone afterwards, unless `keep`; if
/// this process is killed, the server ends with it and the next drill or sweep() removes the rest.
/// Forks: to be called from the main thread, which must live as long as the server does.
Result<DrillReport> run_drill(const DrillRequest& request, const Restore& restore,
                              const ProgressReceiver& progress, const Cancellation& cancel);

/// A server that somebody looks at.
struct Look {
    RestoredBackup backup;
    std::string socket;  ///< the directory of its socket
    unsigned port = 0;
    std::string user;  ///< a superuser of it
    std::string database;
    bool recovering = false;     ///< stopped at its target; else it came to the end of the WAL
    double seconds = 0;          ///< from the beginning to here
    std::string directory = "";  ///< of the scratch; what is in it goes with the server
    std::string programs = "";   ///< the directory of the server's programs
    /// What a program gets that asks this server, and nothing that leads it to another one.
    std::vector<std::string> environment = {};
};

/// The same with recovery_target_action = pause.
using Show = Restore;

/// A server as a drill has it, that takes sessions while it recovers, which can only read, until
/// `cancel` is requested, which is success; `ready` is called once it has come to its target. Of
/// the request the questions are not asked. Kinds: those of a drill, runtime if the server ends.
Result<> run_look(const DrillRequest& request, const Show& show,
                  const std::function<Result<>(const Look&)>& ready,
                  const ProgressReceiver& progress, const Cancellation& cancel);

/// The same server, which has come to its target and is open for writing, until `work` is done. Its
/// recovery_target_action is promote. What is written goes with it.
Result<> run_opened(const DrillRequest& request, const Show& show,
                    const std::function<Result<>(const Look&)>& work,
                    const ProgressReceiver& progress, const Cancellation& cancel);

/// Removes what dead drills of this user left in `scratch_parent`, and stops servers that outlived
/// them; returns their directories. Touches nothing without our marker.
Result<std::vector<std::string>> sweep(const std::string& scratch_parent, bool dry_run);

/// The report without what the cluster has answered: for records and logs that others read.
DrillReport without_answers(DrillReport report);

/// For people, and for an operations log.
std::string format_text(const DrillReport& report);
std::string format_markdown(const DrillReport& report);

}  // namespace chronos::ops::drill
