#pragma once

#include <optional>

#include "chronos/ops/backup/backup.h"
#include "chronos/repo/info.h"

namespace chronos::ops::backup {

/// The manifest a diff or incr is based on; nullopt for a full backup, and - with a warning - if
/// there is none to be based on. Source: docs/format/backup.md, Choosing the prior.
Result<std::optional<repo::Manifest>> choose_prior(const BackupRequest& request,
                                                   const repo::BackupInfo& info);

/// What every backup of a set has in common with its prior overrides the request; each difference
/// is a warning. Page checksums that are checked stay so; that they were not does not.
void inherit_options(const repo::Manifest& prior, BackupRequest& request);

}  // namespace chronos::ops::backup
