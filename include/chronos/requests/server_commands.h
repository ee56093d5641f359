#pragma once

#include <memory>
#include <vector>

#include "chronos/db/connection.h"
#include "chronos/ops/backup/backup.h"
#include "chronos/ops/check/check.h"
#include "chronos/ops/stanza/stanza.h"
#include "chronos/requests/context.h"

/// Commands that ask a server, over whatever connection there is to it: libpq's from a shell, the
/// session of a job worker in an engine. Options come from the context.
namespace chronos::requests {

/// To the server that the pg1-* options name.
Result<std::unique_ptr<db::Connection>> connect_to_server(Context& context);

/// What became of the backup into one of the repositories that were asked for.
struct RepositoryBackup {
    unsigned key = 1;
    Result<ops::backup::BackupResult> result;
};

/// Into the repository of --repo, those of backup-repos, or the first; at least one. Creates the
/// stanza first where there is none.
Result<std::vector<RepositoryBackup>> backup_over(Context& context, db::Connection& connection);

/// The failures: the only one as it is; of several repositories each is logged, and the error says
/// how many there are. Of kind `command`.
Result<> report_backups(const std::vector<RepositoryBackup>& backups);

Result<std::vector<ops::check::CheckFinding>> check_over(Context& context,
                                                         db::Connection& connection);

/// Of the cluster that the server runs, which must be the one that pg1-path names.
Result<pgdata::ControlFile> control_file_over(Context& context, db::Connection& connection);

Result<std::vector<ops::stanza::StanzaOutcome>> create_stanza_over(Context& context,
                                                                   db::Connection& connection);

}  // namespace chronos::requests
