#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/info.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// The timelines of one archive, as its history files tell them, and how far their WAL went by what
/// else is on record.
struct Timelines {
    /// One timeline but the first.
    struct Way {
        std::vector<pgdata::TimelineSwitch> switches;  ///< where those before it are left
        /// Its own history file is lost or damaged; that of this later timeline contains all that
        /// it said. 0: the file is there.
        Timeline told_by = 0;
        UnixTime stored = 0;  ///< when the file, or the later one, was stored: its first moment
    };
    std::map<Timeline, Way> ways;
    std::map<Timeline, std::string> damaged;  ///< files that cannot be read, and why
    /// History files that say different things about one timeline, in words.
    std::vector<std::string> contradictions;
    std::set<Timeline> with_directories;  ///< that have, or had, WAL in the archive
    /// The last segment that a listed backup needed, of each timeline: those up to it were
    /// archived.
    std::map<Timeline, std::string> backed_up_to;

    Timeline newest() const { return ways.empty() ? 0 : ways.rbegin()->first; }
    const Way* way_to(Timeline timeline) const;
    /// Whether the file of that way is missed: one that is older than any WAL was removed with it.
    bool is_lost(Timeline timeline) const;
    /// One that has no WAL says nothing.
    void add_backup(const BackupEntry& backup);
    /// The number of the first segment of a timeline that need not have been: another timeline left
    /// it there, or a backup ended in the one before. 0: nothing tells.
    std::uint64_t segments_known(Timeline timeline, std::uint32_t segment_size) const;
};

/// Reads every history file of the archive: one listing, and one object a timeline. A file that
/// cannot be parsed or decrypted is `damaged`; one that cannot be read at all is an error.
Result<Timelines> load_timelines(const Repository& repository, const std::string& stanza,
                                 const std::string& archive_id, const std::string& pass);

/// The content of the history file of a timeline whose way is known. PostgreSQL reads it as its
/// own; the reasons that a person reads there are gone with the file that is lost.
std::string format_timeline_history(const Timelines::Way& way);

/// Of timelines that have WAL those whose history recoveries ask for: all but the oldest that is
/// left, of which nobody asks where it comes from.
std::set<Timeline> histories_wanted(std::set<Timeline> with_wal);

/// A history file that recoveries of this archive may need, and do not find.
struct LostHistory {
    std::string object;  ///< "archive/main/15-1/00000002.history"
    std::string wrong;   ///< "is missing", "cannot be read: ..."
    bool damaged = false;
    Timelines::Way way;  ///< what it said; if `told_by` is 0 nothing tells
    std::string doubt;   ///< why what a later one tells is not believed; "": it is
};

/// Those of timelines older than any WAL are none of them: retention removes them.
Result<std::vector<LostHistory>> find_lost_histories(const Repository& repository,
                                                     const std::string& stanza,
                                                     const std::string& archive_id,
                                                     const std::string& pass);

/// Writes the file back as a later one tells it. Kind format if none does, or if they disagree.
Result<> mend_history(const Repository& repository, const LostHistory& lost,
                      const std::string& pass);

/// Adds what `other` knows: of several repositories that hold the same archive.
void merge_timelines(Timelines& timelines, const Timelines& other);

}  // namespace chronos::repo
