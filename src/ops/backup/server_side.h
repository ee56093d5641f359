#pragma once

#include "chronos/base/cancel.h"
#include "chronos/db/server.h"
#include "chronos/ops/backup/backup.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/info.h"

namespace chronos::ops::backup {

/// The cluster behind a session, as both the server and its files describe it.
struct Cluster {
    db::ServerFacts server;  ///< nothing of it where the cluster is stopped
    pgdata::ControlFile control;
    std::string pgdata;
    /// Of a stopped cluster: pg_control as it was then. A server that starts writes another one.
    std::string stopped_control = "";

    bool standby() const { return server.in_recovery; }
};

/// How backup mode began.
struct StartedBackup {
    UnixTime timestamp = 0;  ///< of the server's clock
    Lsn lsn;
    Timeline timeline = 0;
    std::string segment;         ///< of `lsn`
    std::string not_asked = "";  ///< why a primary could not be asked to end it; "": it need not
    std::string proof_segment;   ///< its arrival in the archive proves that archiving works
};

/// Server and files are the same cluster (kind db_mismatch), it is the stanza's (backup_mismatch),
/// it is a server that may be backed up, and the WAL of a primary is archived. Without a connection
/// the cluster is that of the data directory, it is the stanza's, and no server runs in it
/// (pg_running).
Result<Cluster> look_at_cluster(const BackupRequest& request, db::Connection* connection,
                                const repo::HistoryEntry& stanza);

/// Of a standby, with its session: that it has not gone to another timeline since `started`, whose
/// WAL would not be that of one row. Kind db_mismatch.
Result<> check_same_timeline(const Cluster& cluster, const StartedBackup& started);

/// Kind pg_running if somebody has started the cluster since look_at_cluster() found it stopped.
Result<> check_still_stopped(const BackupRequest& request, const Cluster& cluster);

}  // namespace chronos::ops::backup
