#pragma once

#include <string>
#include <vector>

#include "chronos/db/connection.h"
#include "chronos/db/server.h"
#include "chronos/pgdata/cluster_files.h"
#include "ops/backup/server_side.h"

namespace chronos::ops::backup {

/// What a backup is about to contain, and the catalog's word on the tablespaces in it.
struct Listing {
    pgdata::ClusterList list;
    std::vector<db::Tablespace> tablespaces;
    std::string
        left_out;  ///< one sentence for whoever asked for the backup; "" if there is nothing
};

/// The one place where the list of a backup is made. Every name in it can be stored and read back;
/// what cannot, and what lies in pg_tblspc and is no tablespace, is left out with warnings. Fails,
/// besides as pgdata::list_cluster() does, with path_missing if a tablespace of the server is not
/// there. Without a connection the cluster is stopped: with its pg_wal, tablespaces by the names
/// that pgBackRest gives them then ("ts16387") and, if it was shut down cleanly, with unlogged
/// relations, which no recovery will make afresh.
Result<Listing> list_for_backup(const BackupRequest& request, const Cluster& cluster,
                                db::Connection* connection);

/// Whether what is of this manifest name can be stored in the repository, as an object of that name
/// in a backup of the stanza, and read back; the error says why not.
Result<> check_storable(const storage::Storage& storage, const std::string& stanza,
                        std::string_view manifest_name);

}  // namespace chronos::ops::backup
