#pragma once

#include <optional>
#include <string>

#include "chronos/ops/backup/backup.h"
#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"
#include "ops/backup/plan.h"

namespace chronos::ops::backup {

/// What a backup has in common with an interrupted one if it can go on with its files.
struct ResumeTerms {
    bool enabled = true;  ///< the option
    repo::BackupType type = repo::BackupType::full;
    compress::CompressType compress_type = compress::CompressType::none;
    /// The object that came with the promotion of this server; "" if it never was a standby.
    std::string timeline_history = "";
};

/// The partial manifest of the newest backup that `known` has a directory of, if that was
/// interrupted and can be resumed. One that cannot is removed: nothing refers to it, and it would
/// only take space. Source: docs/format/backup.md, Resume.
///
/// The caller holds the server's backup lock and the lease of the repository, so that nobody makes
/// it any more who would have either. One that was begun before this server was promoted and shows
/// signs of life is an error of kind lock_acquire: the former primary may have it made by
/// pgBackRest, and its lock is another one.
Result<std::optional<repo::Manifest>> find_resumable(const repo::Repository& repository,
                                                     const std::string& stanza,
                                                     const repo::ReconstructedInfo& known,
                                                     const ResumeTerms& terms);

/// Removes from the directory of the interrupted backup what the new one has no use for. Of the
/// files that stay, `manifest` takes over what `resumed` says about their stored form, and `files`
/// the action `resume`; they are still to be checked. A whole file that `rules` would have in
/// blocks always has no use.
Result<> keep_stored_files(const repo::Repository& repository, const std::string& stanza,
                           const repo::Manifest& resumed, const BlockRules& rules,
                           repo::Manifest& manifest, std::vector<PlannedFile>& files);

}  // namespace chronos::ops::backup
