#pragma once

#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/clock.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::backup {

/// A label for a backup that started at `start`, later than every label the stanza has ever had:
/// the local time, for which it may wait until the next second, or where that is not later, the
/// second after the latest label. Labels are local times of whoever makes a backup: of another time
/// zone, of the hour before a clock was put back, of a clock that is wrong. What they must do is
/// differ and sort in the order in which backups were made; the time of a backup stands in its
/// manifest. `prior` is "" for a full backup; `known` is the latest label that a directory had when
/// the backup began, or "": one that was removed since may still be written to by whoever made it.
/// Fails with kind clock if no later label is possible. Source: docs/format/info-files.md, Labels.
Result<std::string> make_label(const repo::Repository& repository, const std::string& stanza,
                               repo::BackupType type, const std::string& prior, UnixTime start,
                               const std::string& known, const Cancellation& cancel);

}  // namespace chronos::ops::backup
