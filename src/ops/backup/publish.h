#pragma once

#include <mutex>
#include <string>

#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::backup {

/// Where a backup is published, and the passphrase of its manifest.
struct Publication {
    const repo::Repository& repository;
    const std::string& stanza;
    const std::string& backup_pass;  ///< BackupInfo::cipher_pass
    bool symlink = true;
};

/// Writes backup.manifest.copy alone: a backup in the making, which nobody takes for one. `mutex`
/// is held while the manifest is read.
Result<> save_partial_manifest(const Publication& to, const repo::Manifest& manifest,
                               std::mutex& mutex);

/// Writes backup.manifest.copy and then backup.manifest, the moment at which the backup exists;
/// all that it mentions must be durable. Kind format if the manifest is not whole.
Result<> save_manifest(const Publication& to, const repo::Manifest& manifest);

/// backup.history/<year>/<label>.manifest.gz
Result<> save_history(const Publication& to, const repo::Manifest& manifest);

/// Points `latest` to the backup, where the storage has links.
Result<> link_latest(const Publication& to, const std::string& label);

/// Adds the backup to backup.info and writes both files of it.
Result<> list_backup(const Publication& to, repo::BackupInfo info, const repo::BackupEntry& entry);

}  // namespace chronos::ops::backup
