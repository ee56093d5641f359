#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "chronos/ops/archive/get.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/local/spool.h"
#include "chronos/repo/stanza.h"

namespace chronos::ops::archive {

/// Segments fetched ahead for the recovery of one data directory, or for whoever asks for one after
/// the other.
///
/// A file under the name of a segment is whole and was verified as get_wal() does it. That one is
/// not there says nothing about the archive. One process at a time adds to the spool, holding its
/// lock; the one that recovery waits for takes from it without.
class Spool {
public:
    /// Creates nothing. `size_max_bytes` is what may wait in it.
    static Result<Spool> of(const repo::SpoolPlace& place, const pgdata::ControlFile& control,
                            std::uint64_t size_max_bytes);

    /// Whether it can hold a segment at all.
    bool enabled() const { return count_max_ > 0; }
    /// True once for this data directory since the machine was started, for who has to say
    /// something once. False, too, if that cannot be noted.
    bool first_to_say() const;
    const std::string& directory() const { return directory_; }
    std::string path(const std::string& segment) const { return directory_ + "/" + segment; }

    /// Moves a segment to `destination` (absolute), which appears whole or not at all. False if it
    /// is not there, or not what it should be: then it is removed. Waits for one that is being
    /// fetched at this moment, for a short time.
    bool take(const std::string& segment, const std::string& destination,
              const Cancellation& cancel) const;

    /// The segments that may be in the spool after `segment` was asked for, in order.
    std::vector<std::string> following(const std::string& segment) const;
    /// Whether `next` comes after `segment`.
    bool is_next(const std::string& segment, const std::string& next) const;
    /// Whether at most half of what may wait after `segment` is there.
    bool is_low(const std::string& segment) const;

    /// The right to add, for as long as the descriptor or a copy of it in a forked process is
    /// open. Creates the directory. nullopt if another process has it; an error if the directory
    /// cannot be used, or is not ours alone.
    Result<std::optional<os::FileDescriptor>> lock() const;

    /// What somebody who is no recovery has got last, and when by the clock of the file system.
    struct Asked {
        std::string segment;
        std::chrono::nanoseconds at;
        bool operator==(const Asked&) const = default;
    };
    /// nullopt if that is not known.
    std::optional<Asked> last_asked() const;
    /// Creates the directory; an error as lock() has.
    Result<> note_asked(const std::string& segment) const;

    /// Whether note_answered() was told of the file in the last minute, by a clock that nobody
    /// sets.
    bool was_answered(const std::string& name) const;
    /// That the archive was found not to have the file. Creates the directory; what cannot be
    /// noted is looked into again.
    void note_answered(const std::string& name) const;

    /// Empties the spool, or if another process is adding to it tells that one to stop and do so.
    void clear() const;
    /// Whether clear() was called since the holder of the lock called clean().
    bool must_clear() const;

    /// Removes all but the notes of what was asked for and of what is not there, and the segments
    /// following `segment` ("": all): what was replayed already, of other timelines, or left
    /// unfinished; and what is left from before the machine was started. For the holder of the
    /// lock.
    void clean(const std::string& segment) const;
    /// Whether `lock` is the lock still: the directory may have been removed and made again.
    bool is_locked_by(int lock) const;

private:
    Spool() = default;
    bool take_ready(const std::string& segment, const std::string& destination) const;
    bool is_being_fetched(const std::string& segment) const;
    bool is_valid(int file, const std::string& segment) const;
    bool is_kept_answer(const std::string& name) const;
    Result<> make_directory() const;
    std::string lock_path() const { return directory_ + "/lock"; }
    std::string clear_path() const { return directory_ + "/clear"; }
    std::string said_path() const { return directory_ + "/said"; }
    std::string asked_path() const { return directory_ + "/asked"; }
    std::string answered_path(const std::string& name) const {
        return directory_ + "/answered-" + name;
    }

    std::string directory_;
    repo::ClusterIdentity cluster_;
    std::uint32_t segment_size_ = 0;
    std::size_t count_max_ = 0;
};

/// Fetches the segments following `segment` into the spool, `processes` of them decompressed at a
/// time and some more on their way, until the first one that cannot be had, for whatever reason:
/// recovery will ask for it and learn the reason. Stops, too, between two files, and within one
/// that comes from far away, when `go_on`, which any of the threads calls, says no. What does not
/// change from one segment to the next is asked of a distant storage once. For the holder of the
/// lock.
void fetch_ahead(const GetSettings& settings, const Spool& spool, const std::string& segment,
                 unsigned processes, const std::function<bool()>& go_on);

/// Fetches ahead for somebody who asks for one segment after the other and has got `segment`, until
/// he asks for nothing in `patience`, or for something else than what follows; then empties the
/// spool. For the holder of the lock, which is `lock`.
void fetch_for_reader(const GetSettings& settings, const Spool& spool, const std::string& segment,
                      unsigned processes, std::chrono::milliseconds patience, int lock);

}  // namespace chronos::ops::archive
