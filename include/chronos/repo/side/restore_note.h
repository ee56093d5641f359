#pragma once

#include <optional>
#include <string>

#include "chronos/base/clock.h"
#include "chronos/base/lsn.h"
#include "chronos/base/result.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// That somebody has made a data directory with a target before the end of the WAL. A server that
/// is promoted there gives up what comes behind; until its timeline history is in the archive, only
/// this note tells.
struct RestoreNote {
    UnixTime made = 0;
    Timeline timeline = 0;  ///< that the recovery followed
    std::string pg_path;    ///< one line
    std::string target;     ///< options of the restore, for people; one line
    /// The last one of the timeline in the archive when the restore was made; "" if there was none,
    /// it could not be found out, or the note is of an older version.
    std::string last_segment;
};

/// Replaces the note before: chronos/<stanza>/restore/<archive id>.
Result<> save_restore_note(const Repository& repository, const std::string& stanza,
                           const std::string& archive_id, const RestoreNote& note,
                           const std::string& pass);
/// nullopt if there is none, or if it cannot be understood.
Result<std::optional<RestoreNote>> load_restore_note(const Repository& repository,
                                                     const std::string& stanza,
                                                     const std::string& archive_id,
                                                     const std::string& pass);

}  // namespace chronos::repo
