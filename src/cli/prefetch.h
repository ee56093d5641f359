#pragma once

#include <optional>

#include "chronos/ops/archive_spool.h"
#include "cli/context.h"

namespace chronos::cli {

/// WAL that is fetched while the server replays what came before. Nothing of it can fail: whatever
/// goes wrong, archive-get does all by itself.
class Prefetch {
public:
    /// `name` is what recovery asks for; only segments are fetched ahead. `context` must outlive
    /// it.
    Prefetch(Context& context, std::string name);

    /// Whether the file was fetched ahead and is now at `destination`.
    bool take(const std::string& destination) const;

    /// Starts a process that fetches the following segments, if few are left and none is running.
    /// It is independent of this one, ends when the spool is full, and if it becomes an orphan of
    /// PostgreSQL, ends with 0 or 1. To be called when the file was found, and by the only thread.
    void go_on() const;

    /// Empties the spool if recovery asks for a history file: that comes before the segments and
    /// after them, where nobody else would remove what lies beyond the target of the recovery.
    void clear_between() const;

private:
    Context& context_;
    const std::string name_;
    std::optional<ops::archive::Spool> spool_;  ///< nullopt: nothing is fetched ahead
};

}  // namespace chronos::cli
