#pragma once

#include <optional>

#include "chronos/ops/archive/spool.h"
#include "chronos/requests/context.h"

namespace chronos::cli {

/// WAL that is fetched while the server replays what came before; and for whoever asks, without a
/// recovery, for one segment after the other. Nothing of it can fail: whatever goes wrong,
/// archive-get does all by itself.
class Prefetch {
public:
    /// `name` is what is asked for; only segments are fetched ahead. `context` must outlive
    /// it.
    Prefetch(requests::Context& context, std::string name);

    /// Whether the file was fetched ahead and is now at `destination`.
    bool take(const std::string& destination) const;

    /// Starts a process that fetches the following segments, if few are left and none is running.
    /// It is independent of this one, and if it becomes an orphan of PostgreSQL, ends with 0 or 1.
    /// In a recovery it ends when the spool is full. Without one it is started for the second of
    /// two consecutive segments, ends when nothing was asked for in a while, and leaves nothing in
    /// the spool. To be called when the file was found, and by the only thread.
    void go_on() const;

    /// Empties the spool if recovery asks for a history file: that comes before the segments and
    /// after them, where nobody else would remove what lies beyond the target of the recovery.
    void clear_between() const;

private:
    requests::Context& context_;
    const std::string name_;
    const bool recovery_;
    bool follows_ = false;  ///< without a recovery: what was asked for before this one was
    std::optional<ops::archive::Spool> spool_;  ///< nullopt: nothing is fetched ahead
};

}  // namespace chronos::cli
