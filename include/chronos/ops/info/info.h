#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chronos/repo/info.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/random_access.h"
#include "chronos/repo/repository.h"

/// What repositories hold. Source: docs/format/commands.md, info.
namespace chronos::ops::info {

enum class InfoDetail {
    full,
    progress,  ///< which commands run and how far they are; no info file is read
};

struct InfoRequest {
    std::vector<repo::Repository> repositories;  ///< ascending key
    std::string stanza;                          ///< "": all that any repository holds
    /// A backup label, "latest" or "oldest": that backup alone, in more detail. Needs a stanza.
    std::string set;
    std::optional<repo::BackupType> type;  ///< only backups of this type
    InfoDetail detail = InfoDetail::full;
    std::string lock_path;
};

/// The codes of docs/format/commands.md, info.
enum class InfoCode : int {
    ok = 0,
    missing_stanza_path = 1,
    no_valid_backups = 2,
    missing_stanza_data = 3,
    different_across_repos = 4,
    database_mismatch = 5,
    requested_backup_not_found = 6,
    other = 99,
};

struct InfoStatus {
    InfoCode code = InfoCode::ok;
    std::string message;  ///< for `other` of a repository the error with its class name
    bool closed = false;  ///< what is wrong is the passphrase
};

struct InfoRepository {
    unsigned key = 1;
    crypto::CipherType cipher = crypto::CipherType::none;
    InfoStatus status;
    repo::LockState backup_lock;
};

struct InfoArchive {
    unsigned repo_key = 1;
    repo::HistoryEntry database;  ///< as backup.info has it
    std::string archive_id;
    std::string min;  ///< first and last stored segment; "" if there is none
    std::string max;
};

struct InfoBackup {
    unsigned repo_key = 1;
    repo::BackupEntry entry;
    std::optional<repo::Manifest> manifest;  ///< only with InfoRequest::set
    repo::RandomAccess random_access = {};   ///< of the manifest
};

struct InfoDatabase {
    unsigned repo_key = 1;
    repo::HistoryEntry entry;
};

struct InfoStanza {
    std::string name;
    InfoStatus status;
    std::vector<InfoRepository> repositories;
    std::vector<InfoDatabase> databases;
    std::vector<InfoArchive> archives;
    std::vector<InfoBackup> backups;            ///< oldest stop first
    std::optional<repo::HistoryEntry> current;  ///< of the first repository that has one
    repo::LockState restore_lock;
};

struct InfoReport {
    InfoDetail detail = InfoDetail::full;
    bool single_backup = false;       ///< InfoRequest::set was given
    std::vector<InfoStanza> stanzas;  ///< by name
};

/// Looks at everything the request names. What is wrong with a repository or a stanza becomes a
/// status; an error is only a request that contradicts itself (kind option_invalid).
Result<InfoReport> collect_info(const InfoRequest& request);

/// Kind crypto if no repository has been opened, of no stanza, because the passphrase is wrong:
/// then the report says nothing else.
Result<> info_outcome(const InfoReport& report);

/// "missing stanza path" for its code.
std::string_view info_code_message(InfoCode code);

}  // namespace chronos::ops::info
