#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronos/ops/restore/restore.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/timelines.h"

namespace chronos::ops::restore {

/// Where the WAL of a backup lies in one repository.
struct ArchiveLocation {
    const repo::Repository* repository = nullptr;
    std::string directory;    ///< "archive/main/15-1"
    std::string cipher_pass;  ///< of the archive
    std::string archive_id;   ///< "15-1"
};

/// The way recovery takes from the timeline of the backup to the one it ends on.
struct TimelinePath {
    Timeline backup = 0;
    Timeline target = 0;
    Timeline newest = 0;  ///< the highest one the archive knows
    /// Left at these positions, in order: none when target == backup.
    std::vector<pgdata::TimelineSwitch> switches;
};

/// The major version of "15" or "9.6".
unsigned major_of(std::string_view version);

/// Puts on record that a data directory with a target was made, in every repository that can be
/// written. What keeps it from that is a warning: a restore must not depend on it.
void note_restore(const RestoreRequest& request, const RestorePlan& plan);

/// What a restore wants, as far as the choice of the timeline depends on it.
struct TimelineWish {
    RecoveryType type = RecoveryType::default_;
    std::optional<std::int64_t> target_us;  ///< of a time target
    std::optional<Lsn> target_lsn;
};

/// The timelines of one cluster in all repositories, and the one that a restore ends on. It is
/// chosen before the backup: a newer backup that does not lead there is passed over.
///
/// Without --target-timeline that is the newest, as with PostgreSQL - unless the timeline it left
/// went on afterwards: then each of the two has what the other has not, and only the person who
/// asks can say which one is meant. What was behind the fork when the new timeline began was given
/// up on purpose (a recovery to a point in time) and is named in a warning.
class TimelineGuide {
public:
    /// `backups` are all of the cluster's.
    static Result<TimelineGuide> load(const RestoreRequest& request, const TimelineWish& wish,
                                      std::vector<ArchiveLocation> archives,
                                      std::vector<repo::BackupEntry> backups,
                                      const std::string& pg_version);

    /// Why no timeline can be chosen: kind db_mismatch, with the choices as hints.
    const std::optional<Error>& refused() const { return refused_; }
    /// The timeline on which a recovery of this backup ends.
    Timeline target_of(Timeline backup) const;
    /// Whether the backup can be recovered to that timeline.
    bool leads(const repo::BackupEntry& backup) const;
    /// The way of a backup to its target. Kinds db_mismatch, not_found, format with the texts of
    /// pgBackRest.
    Result<TimelinePath> path(Timeline backup, Lsn lsn_start, std::optional<Lsn> lsn_stop) const;
    /// What is left behind on the way of that backup, and what does not fit.
    const std::vector<std::string>& warnings() const { return warnings_; }
    const std::vector<ArchiveLocation>& archives() const { return archives_; }
    const repo::Timelines& timelines() const { return timelines_; }
    /// No backup leads to the timeline: what there is instead.
    Error nothing_leads() const;

private:
    /// What a timeline has behind the position where the next one of the way left it.
    struct Behind {
        Timeline parent = 0;
        Timeline child = 0;
        Lsn left;
        std::uint64_t count = 0;  ///< whole segments behind that of the fork
        std::string last;         ///< the last one, "" if there is none
        UnixTime last_stored = 0;
        bool commits = false;  ///< in the segment of the fork, behind the fork
        bool goes_on = false;  ///< something of it was stored after the child had begun
        std::optional<std::int64_t> left_us;  ///< of the last commit before the fork, if looked for
        std::optional<std::int64_t> last_us;  ///< of the last commit known
    };
    TimelineGuide() = default;
    void name_lost_histories(const ArchiveLocation& archive, const repo::Timelines& known);
    Result<> find_newest();
    Result<> decide(const RestoreRequest& request, const std::string& pg_version);
    Result<> judge_forks();
    Result<> name_branches();
    std::string origin_of(Timeline timeline) const;
    Result<> judge_note(const RestoreRequest& request);
    Result<Behind> look_behind(Timeline parent, Timeline child, Lsn left) const;
    Result<> look_at_archive(const ArchiveLocation& archive, Behind& behind) const;
    Result<> look_at_fork(const ArchiveLocation& archive, const std::string& object,
                          UnixTime stored, Behind& behind) const;
    Result<> look_at_stream(const ArchiveLocation& archive, Behind& behind) const;
    bool is_settled(const Behind& behind) const;
    Error both_went_on(const Behind& behind) const;
    Error lies_in_what_was_given_up(const Behind& behind) const;
    std::string what_is_behind(const Behind& behind) const;
    std::string what_is_on(Timeline timeline) const;
    std::optional<repo::CommitNote> last_commit_on(Timeline timeline) const;

    TimelineWish wish_;
    std::string stanza_;
    std::vector<ArchiveLocation> archives_;
    std::vector<repo::BackupEntry> backups_;
    repo::Timelines timelines_;
    bool current_ = false;  ///< each backup stays on its own
    Timeline target_ = 0;   ///< 0: none but those of the backups is known
    Timeline newest_ = 0;
    Timeline orphan_ = 0;  ///< a higher timeline that has WAL, but no history
    std::optional<Error> refused_;
    std::vector<std::string> warnings_;
};

}  // namespace chronos::ops::restore
