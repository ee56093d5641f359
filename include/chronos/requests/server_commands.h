#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "chronos/db/connection.h"
#include "chronos/flows/backup.h"
#include "chronos/flows/turn.h"
#include "chronos/ops/check/check.h"
#include "chronos/ops/stanza/stanza.h"
#include "chronos/requests/context.h"

/// Commands that ask a server, over whatever connection there is to it: libpq's from a shell, the
/// session of a job worker in an engine. Options come from the context.
namespace chronos::requests {

/// To the server that the pg1-* options name.
Result<std::unique_ptr<db::Connection>> connect_to_server(Context& context);

/// Into the repository of --repo, those of backup-repos, or the first; and what is expired then.
/// Asks the server who it is; without a connection the cluster is stopped, and pg1-path says which.
/// `context` must outlive it.
Result<flows::BackupRequest> backup_request(Context& context, db::Connection* connection);

/// Of a run that other servers have in their schedules as well; nullopt of any other.
std::optional<flows::AwaitTurn> turn_request(const Context& context,
                                             const flows::BackupRequest& request);

Result<std::vector<ops::check::CheckFinding>> check_over(Context& context,
                                                         db::Connection& connection);

/// Of the cluster that the server runs, which must be the one that pg1-path names.
Result<pgdata::ControlFile> control_file_over(Context& context, db::Connection& connection);

Result<std::vector<ops::stanza::StanzaOutcome>> create_stanza_over(Context& context,
                                                                   db::Connection& connection);

}  // namespace chronos::requests
