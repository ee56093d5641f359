#pragma once

#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/clock.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::backup {

/// A label for a backup that started at `start`, later than every label the stanza has ever had:
/// waits for the next second if that makes it so, otherwise fails with kind clock. `prior` is ""
/// for a full backup. Source: repository-format reference, section 5.4.
Result<std::string> make_label(const repo::Repository& repository, const std::string& stanza,
                               repo::BackupType type, const std::string& prior, UnixTime start,
                               const Cancellation& cancel);

}  // namespace chronos::ops::backup
