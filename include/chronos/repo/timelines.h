#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// The timelines of one archive, as its history files tell them.
struct Timelines {
    /// One timeline but the first.
    struct Way {
        std::vector<pgdata::TimelineSwitch> switches;  ///< where those before it are left
        /// Its own history file is lost; a later timeline's contains all that it said.
        bool derived = false;
        UnixTime stored = 0;  ///< when the file, or the later one, was stored: its first moment
    };
    std::map<Timeline, Way> ways;
    std::map<Timeline, std::string> damaged;  ///< files that cannot be read, and why
    /// History files that say different things about one timeline, in words.
    std::vector<std::string> contradictions;

    Timeline newest() const { return ways.empty() ? 0 : ways.rbegin()->first; }
    const Way* way_to(Timeline timeline) const;
    /// The last position in which a timeline was left by any other: its WAL goes at least so far.
    std::optional<Lsn> last_left(Timeline timeline) const;
};

/// Reads every history file of the archive: one listing, and one object a timeline. A file that
/// cannot be parsed or decrypted is `damaged`; one that cannot be read at all is an error.
Result<Timelines> load_timelines(const Repository& repository, const std::string& stanza,
                                 const std::string& archive_id, const std::string& pass);

/// The content of the history file of a timeline whose way is known. PostgreSQL reads it as its
/// own; the reasons that a person reads there are gone with the file that is lost.
std::string format_timeline_history(const Timelines::Way& way);

/// The names of the history files that are lost and known from later ones. With `put_back` they are
/// written into the archive.
Result<std::vector<std::string>> mend_histories(const Repository& repository,
                                                const std::string& stanza,
                                                const std::string& archive_id,
                                                const std::string& pass, bool put_back);

/// Adds what `other` knows: of several repositories that hold the same archive.
void merge_timelines(Timelines& timelines, const Timelines& other);

}  // namespace chronos::repo
