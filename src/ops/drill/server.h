#pragma once

#include <functional>
#include <memory>

#include "chronos/db/connection.h"
#include "chronos/ops/drill/drill.h"
#include "chronos/os/process.h"

namespace chronos::ops::drill {

/// The directory with the programs of that major version: `wanted` if given, else `own_path`, the
/// PATH, pg_config, or where packages put them. Kind not_found, naming where it looked.
Result<std::string> find_programs(const std::string& pg_version, const std::string& wanted,
                                  const std::string& own_path = "");
/// The environment of this process without what libpq and the server read from it.
std::vector<std::string> plain_environment();
/// "15" of "postgres (PostgreSQL) 15.18 (Debian ...)", "9.6" of 9.6.x; "" of anything else.
std::string version_of_output(std::string_view output);

/// What a server has to be set to because of the cluster that it runs.
struct ClusterTraits {
    unsigned major = 0;
    /// Its max_prepared_transactions, without which prepared ones cannot be taken over.
    unsigned prepared_max = 0;
    std::uint64_t wal_segment_size = std::uint64_t{16} * 1024 * 1024;
};

/// The configuration file of the drill's server: a socket in a directory of its own, nothing that
/// archives, connects, vacuums or preloads.
std::string server_settings(const DrillRequest& request, const Scratch& scratch,
                            const ClusterTraits& cluster);
/// What comes behind that of a server which is asked while it recovers, with what it must have at
/// least as high as the cluster had.
std::string look_settings(const ClusterTraits& cluster,
                          const std::map<std::string, std::uint64_t>& required);
/// What comes behind that of a server whose pages are fetched when they are read.
std::string mounted_settings(const ClusterTraits& cluster);
/// Settings of the request that would undo what keeps a drill harmless: kind option_invalid_value.
Result<> check_settings(const DrillRequest& request);

/// What remains of a postgresql.auto.conf: the recovery settings that the restore appended. ALTER
/// SYSTEM stands there too, and has the last word over the configuration file.
std::string recovery_part(const std::string& auto_conf);

/// What its log says about why it ended; "" if nothing.
std::string last_failure(const std::string& log);
/// How many segments the log says were fetched.
std::uint64_t count_restored_segments(const std::string& log);

/// A server on a scratch directory, which ends with this object, and with this process.
class DrillServer {
public:
    /// What it is for: a drill waits for the end of its recovery, a look asks it meanwhile.
    enum class Use { drill, look };
    static Result<DrillServer> start(const DrillRequest& request, const Scratch& scratch,
                                     const RestoredBackup& backup, Use use = Use::drill);

    /// Until it is out of recovery and answers; of a look, until it answers. Kinds runtime (it
    /// ended; the message is from its log), archive_timeout (deadline), cancelled.
    Result<> wait(const ProgressReceiver& progress, const Cancellation& cancel);
    /// As superuser: the first of the request's users that exists.
    Result<std::unique_ptr<db::Connection>> connect(const std::string& database,
                                                    const Cancellation& cancel);
    Result<std::unique_ptr<db::Connection>> connect_as(const std::string& user,
                                                       const std::string& database,
                                                       const Cancellation& cancel) const;
    /// A fast shutdown, an immediate one if that takes longer than some seconds.
    void stop();
    /// An immediate one, of a server whose data nobody wants any more.
    void abandon();
    /// Kind runtime, with what its log says, if it has ended; what DrillRequest::check_data says.
    Result<> check_alive();
    const std::string& superuser() const { return superuser_; }
    /// The directory that its programs are in.
    const std::string& programs() const { return programs_; }
    /// For a shell: starts the server of a kept directory.
    std::string start_command() const;

private:
    DrillServer(const DrillRequest& request, const Scratch& scratch, std::string programs,
                std::uint64_t segments, os::Child child)
        : request_(request),
          scratch_(scratch),
          programs_(std::move(programs)),
          segments_(segments),
          child_(std::move(child)) {}
    Error ended_early(int status) const;

    const DrillRequest& request_;
    Scratch scratch_;
    std::string programs_;
    std::uint64_t segments_;
    os::Child child_;
    std::string superuser_;
};

}  // namespace chronos::ops::drill
