#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronos/ops/archive/get.h"
#include "chronos/ops/archive/push.h"

namespace chronos::ops::archive {

/// What came of one round of streaming.
struct Streamed {
    Lsn until;                ///< at least one repository has everything before it
    std::size_t waiting = 0;  ///< segments whose pieces go once the whole segment is stored
};

/// Stores what the server has flushed of the segment it is writing, and of those that are complete
/// but not archived yet, as pieces beside the archive (repo::WalPiece); and removes the pieces of
/// segments that are archived. pgBackRest does not see any of it.
///
/// A piece once stored is never replaced: each round adds what is new, and after some rounds one
/// piece takes the place of all before it in the same 16 MiB of the segment. Bytes before the
/// flushed position do not change, so that pieces of a server that was killed and started again fit
/// together; still the first round begins with the first byte.
///
/// One thread. Memory: one piece, at most 16 MiB.
class WalStreamer {
public:
    WalStreamer(PushSettings settings, std::string wal_path);
    ~WalStreamer();
    WalStreamer(const WalStreamer&) = delete;
    WalStreamer& operator=(const WalStreamer&) = delete;

    /// Ships what lies before `flushed`. A repository that fails is a warning as long as another
    /// one has taken it.
    Result<Streamed> ship(Timeline timeline, Lsn flushed);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// Puts the pieces of a segment together, for the end of a recovery: `destination` gets them and
/// zeros behind them, where the server sees that the WAL ends. Only for a segment that is not in
/// any repository, which is looked at once more when the pieces are read: if it is there by now,
/// it is fetched.
///
/// A server asks for its last segment twice, and has kept what it got first in pg_wal: if that is
/// still what the pieces are, it is given that. Memory does not depend on the size of a segment.
///
/// Pieces written behind the position where a later timeline of the archive left this one are not
/// used: they belong to no history that ends there. Missing if no repository has the first piece.
Result<GetOutcome> get_streamed_wal(const GetSettings& settings, const std::string& segment,
                                    const std::string& destination);

}  // namespace chronos::ops::archive
