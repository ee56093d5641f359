#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/clock.h"
#include "chronos/base/lsn.h"
#include "chronos/db/connection.h"

namespace chronos::db {

/// What a running server says of itself. Source: docs/format/backup.md, Start and stop.
struct ServerFacts {
    unsigned version_num = 0;  ///< 150007
    std::string data_directory;
    std::uint64_t system_id = 0;
    bool in_recovery = false;
    bool data_checksums = false;
    std::string archive_mode;     ///< "on", "off", "always"
    std::string archive_command;  ///< "(disabled)" while archive_mode is off
    std::string archive_library;  ///< "" when archive_command is used
    std::string shared_preload_libraries;
    std::string wal_level;
    unsigned max_wal_senders = 0;
    unsigned archive_timeout_s = 0;  ///< 0: segments are archived only when full
    unsigned checkpoint_timeout_s = 0;

    unsigned major() const { return version_num / 10000; }
    /// The last component of archive_library, without ".so".
    std::string archive_module() const;
};
/// What a role that is no superuser has to be granted for backups and checks, and has not, as the
/// objects of a GRANT: "pg_monitor", "EXECUTE ON FUNCTION pg_catalog.pg_switch_wal()", ... "" as
/// the role: that of the session. Nothing if all is there. A role that does not exist lacks itself.
Result<std::vector<std::string>> missing_grants(Connection& connection, const std::string& role);

Result<ServerFacts> read_server_facts(Connection& connection);

/// WAL of this server reaches a repository: kinds archive_disabled, feature_not_supported,
/// archive_command_invalid. `mode_check` false accepts archive_mode=always.
Result<> check_archiving(const ServerFacts& facts, bool mode_check);

/// The setting that archives, "archive_command = '/bin/true'", if that is neither our module nor a
/// command of ours or pgBackRest's; "" if it is.
std::string foreign_archiver(const std::string& archive_library,
                             const std::string& archive_command);

/// The clock of the server: seconds, and milliseconds within the second.
struct ServerTime {
    UnixTime second = 0;
    unsigned millisecond = 0;
};
Result<ServerTime> server_time(Connection& connection);

struct Database {
    std::string name;
    std::uint32_t oid = 0;
    std::uint32_t last_system_oid = 0;  ///< the oid of template0
};
Result<std::vector<Database>> list_databases(Connection& connection);

struct Tablespace {
    std::uint32_t oid = 0;
    std::string name;
};
/// Those with a directory of their own.
Result<std::vector<Tablespace>> list_tablespaces(Connection& connection);

Result<Lsn> current_insert_lsn(Connection& connection);

/// Enters backup mode and returns the start LSN. `fast` asks for an immediate checkpoint; without
/// it the call lasts until the next regular one. The mode ends with the session.
Result<Lsn> start_backup(Connection& connection, const std::string& label, bool fast);

/// The advisory lock of pgBackRest, which every one of its backups of a cluster holds, wherever its
/// lock files lie: so neither tool backs up a cluster while the other does, nor one of ours from
/// another host. From 2.60 on it does not: its backups are known by the name of their session, and
/// one that begins while ours runs is found when ours is to be published. It belongs to the session
/// and ends with it; taken twice it is given back twice.
///
/// Returns a name of this run of the server, whose lock it is. Kind lock_acquire if another session
/// has it, in whatever database, still after a moment.
Result<std::string> take_backup_lock(Connection& connection, const Cancellation& cancel);
void release_backup_lock(Connection& connection);
/// Whether this session has it.
Result<bool> has_backup_lock(Connection& connection);

struct StoppedBackup {
    Lsn lsn;
    std::string backup_label;    ///< byte for byte as it must be stored
    std::string tablespace_map;  ///< "" if there is none
};
Result<StoppedBackup> stop_backup(Connection& connection);

/// Writes a restore point, so that there is something to switch away from, and switches to a new
/// segment; returns the LSN where the old one ended.
Result<Lsn> switch_wal(Connection& connection, const std::string& restore_point);
/// The name of the segment that the server writes: it has the timeline, of which pg_control still
/// names the one before between a promotion and its first checkpoint. Not in recovery.
Result<std::string> current_wal_file(Connection& connection);

}  // namespace chronos::db
