#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/info.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// What makes a cluster itself, as info files record it.
struct ClusterIdentity {
    std::uint64_t system_id = 0;
    std::string version;  ///< "15"
    std::uint32_t control_version = 0;
    std::uint32_t catalog_version = 0;

    static ClusterIdentity of(const pgdata::ControlFile& control);
    /// Version and system id agree with the history entry.
    bool is(const HistoryEntry& entry) const {
        return version == entry.version && system_id == entry.system_id;
    }
};

enum class StanzaOutcome {
    created,
    repaired,  ///< a file of a pair was missing, or an interrupted creation was completed
    already_valid,
    upgraded,  ///< the cluster became the current one of the history
};

/// The three locks under which info files of a stanza may be created or upgraded, of one
/// repository. `request.type` is ignored.
Result<std::vector<std::unique_ptr<Lock>>> lock_stanza(LockRequest request);

/// Makes sure that the stanza exists in one repository and belongs to `cluster`; the caller holds
/// lock_stanza(). Never overwrites or upgrades: another cluster's stanza, or directories with
/// content but no info files, are errors (kinds file_invalid, path_not_empty, not_found).
/// Source: docs/format/commands.md, Stanza commands. Beyond it, a creation that was cut off
/// between archive.info and backup.info is completed while there is no backup.
Result<StanzaOutcome> create_stanza(const Repository& repository, const std::string& stanza,
                                    const ClusterIdentity& cluster);

/// Makes `cluster` the current one: appends it to the history of each info file whose current one
/// is another. Cut off between the two files, the next call completes it. Backups and WAL of former
/// clusters stay what they are. The caller holds lock_stanza(). Source: docs/format/commands.md,
/// Stanza commands.
Result<StanzaOutcome> upgrade_stanza(const Repository& repository, const std::string& stanza,
                                     const ClusterIdentity& cluster);

/// Removes all there is of the stanza, info files first: what is left of an interrupted removal is
/// no stanza, and the next call removes it. The caller holds lock_stanza().
Result<> delete_stanza(const Repository& repository, const std::string& stanza);

/// Whether there is anything of it, WAL or backups: if not, it was never made, or its file system
/// is not mounted.
Result<bool> has_stanza(const Repository& repository, const std::string& stanza);

/// The info files have the same current cluster; kind file_invalid, with the way to repair them,
/// otherwise: they are of different stanzas, or one of them was restored from another time.
Result<> check_agreement(const ArchiveInfo& archive, const BackupInfo& backup,
                         const std::string& stanza);

/// archive.info knows every cluster of backup.info under the same id; kind archive_mismatch, with
/// pgBackRest's text, otherwise.
Result<> check_archive_ids(const ArchiveInfo& archive, const BackupInfo& backup);

/// Both info files load, agree with each other and with the cluster; kind file_invalid otherwise,
/// or the error of loading.
Result<> validate_stanza(const Repository& repository, const std::string& stanza,
                         const ClusterIdentity& cluster);

}  // namespace chronos::repo
