#pragma once

#include <string>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/repository.h"
#include "chronos/repo/stanza.h"

namespace chronos::ops::stanza {

struct StanzaRequest {
    std::string stanza;
    std::vector<repo::Repository> repositories;
    std::string lock_path;
    std::string exec_id;  ///< "<pid>-<8 hex digits>"
    /// Where it is remembered which stanzas were seen; "": nowhere.
    std::string spool_path = "";
    std::string pg_path = "";  ///< data directory, where that is remembered too
};

struct StanzaOutcome {
    unsigned repo_key = 1;
    repo::StanzaOutcome state = repo::StanzaOutcome::already_valid;
};

/// Makes the stanza of a cluster in every repository, or finds it there already. Never upgrades
/// and never overwrites: a stanza of another cluster is an error of kind file_invalid. Takes the
/// archive, backup and restore locks. Source: docs/format/commands.md, Stanza commands.
Result<std::vector<StanzaOutcome>> create_stanza(const StanzaRequest& request,
                                                 const pgdata::ControlFile& cluster);

/// After pg_upgrade, or when the stanza is to go on with another cluster: makes it the current one
/// in every repository. Its WAL and backups lie beside those of the former cluster, which stay
/// restorable. Takes the archive, backup and restore locks.
Result<std::vector<StanzaOutcome>> upgrade_stanza(const StanzaRequest& request,
                                                  const pgdata::ControlFile& cluster);

struct DeleteRequest {
    std::string stanza;
    repo::Repository repository;
    std::string lock_path;
    std::string exec_id;
    std::string pgdata;  ///< where the cluster is or was
    bool force = false;  ///< even while its server seems to run
};

/// Removes a stanza, backups, WAL and all. Refuses unless `stop` was called for it (kind
/// not_found), while the server seems to run (pg_running) and while a backup is held
/// (backup_set_invalid). Succeeds if there is no such stanza. Ends with removing the stop file.
Result<> delete_stanza(const DeleteRequest& request);

/// For the first push or backup: creates the stanza in those repositories that have none, and
/// looks no further where there is one. A repository whose own directory is missing, or in which
/// this machine has seen the stanza before, is an error of kind path_missing: more likely than a
/// new repository, its disk is not mounted.
/// Whether one was missing.
Result<bool> ensure_stanza(const StanzaRequest& request, const pgdata::ControlFile& cluster);

}  // namespace chronos::ops::stanza
