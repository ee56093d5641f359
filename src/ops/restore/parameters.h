#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/pgdata/server_config.h"
#include "chronos/pgdata/wal_tablespaces.h"
#include "chronos/pgdata/wal_targets.h"
#include "ops/restore/timeline.h"

namespace chronos::ops::restore {

/// Whether the restore was told the setting, in either spelling.
bool is_given(const RestoreRequest& request, std::string name);

/// What only the WAL itself knows.
struct WalKnowledge {
    struct Segment {
        Lsn begin;
        /// Needed for the backup to be consistent: no target is in it.
        bool of_backup = false;
        bool read = false;
        pgdata::TargetInWal target = {};
    };
    /// From here on the WAL cannot be replayed.
    struct Barrier {
        std::string segment;
        Lsn begin;
        /// Not for what the server wrote there (wal_level = minimal), but because the segment is
        /// damaged: where the last record before that begins; 0 if nothing of the segment can be
        /// read.
        std::optional<Lsn> before_damage;
        std::string flaw;  ///< of one that is damaged: "is damaged from ... on, ..."
        /// Not what is there, but where it would lead: into files that are not this restore's.
        std::optional<pgdata::TablespaceCreation> tablespace = std::nullopt;
        std::string in_the_way =
            {};  ///< those files; "" if the restore may write nowhere else at all
        /// A recovery that ends here does not come to it.
        Lsn last_before() const {
            if (tablespace) return tablespace->before;
            return before_damage && before_damage->value != 0 ? *before_damage : begin;
        }
    };
    std::vector<Segment> segments;  ///< in the order of their names, streamed ones among them
    bool listed = false;            ///< those are all there are
    std::optional<Barrier> barrier;

    /// Whether all that begins before that position has been read; otherwise target_before() says
    /// nothing of what is not there.
    bool complete_before(Lsn end) const;
    pgdata::TargetInWal target_before(Lsn end) const;
    bool complete() const { return complete_before(kEnd); }
    pgdata::TargetInWal target() const { return target_before(kEnd); }

private:
    static constexpr Lsn kEnd{UINT64_MAX};
};

/// Adds to the plan what it means that WAL cannot be replayed: every server ends in front of it,
/// but of wal_level = minimal, which one before version 14 goes on with, without what is not in it.
/// `ends_before`: whether the recovery ends before it; nullopt if nobody knows yet.
void add_barrier(const WalKnowledge::Barrier& barrier, std::optional<bool> ends_before,
                 RestorePlan& plan);

/// Raises RestorePlan::required_parameters to what a server must be told for the WAL of this plan
/// to be replayed to its end (at least what the cluster had at the time of the backup, and what it
/// was told later), and looks for the target. WAL is read for half a minute at most, and without a
/// target to be found in it for some seconds; what is left then is named in a warning. Where only
/// settings depend on it, and more than the plan is wanted, it is left to WalReading; not so if a
/// cluster on this machine has tablespaces that the WAL may create.
WalKnowledge look_into_wal(const RestoreRequest& request,
                           const std::vector<ArchiveLocation>& archives, const TimelinePath& path,
                           std::uint32_t segment_size, RestorePlan& plan);

/// Hands out every segment of the way in the order of their names, as the server would get it,
/// until `take` says false. A segment that cannot be read is an error.
Result<> read_way(const WalToRead& wal, unsigned process_max, const Cancellation& cancel,
                  const std::function<bool(const std::string& segment, io::Bytes content)>& take);

/// Whether a recovery to the target of the plan is over in that segment of its way.
bool ends_in_segment(const RestorePlan& plan, io::Bytes content);

/// Reads RestorePlan::wal_to_read by a thread of its own while files are copied, which do not wait
/// for it: what it has not read within half a minute, or when the copying ends (but it has some
/// seconds in any case), is named in a warning.
class WalReading {
public:
    /// Null if there is nothing to read.
    static std::unique_ptr<WalReading> start(const RestorePlan& plan);
    ~WalReading();
    WalReading(const WalReading&) = delete;
    WalReading& operator=(const WalReading&) = delete;

    /// Raises RestorePlan::required_parameters; tells from where on the WAL cannot be replayed.
    /// Ends early when `cancel` asks for it.
    std::optional<WalKnowledge::Barrier> finish(const Cancellation& cancel, RestorePlan& plan);

private:
    struct State;
    explicit WalReading(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// Adds to RestorePlan::other_settings what the configuration has too low.
void raise_parameters(const RestoreRequest& request, const pgdata::ServerConfig& config,
                      RestorePlan& plan);

}  // namespace chronos::ops::restore
