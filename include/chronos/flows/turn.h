#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/base/progress.h"
#include "chronos/base/result.h"
#include "chronos/db/connection.h"
#include "chronos/repo/side/turn.h"

namespace chronos::flows {

/// What a server may do about a run of a schedule that others have as well.
enum class TurnPart {
    take,    ///< whoever comes first has it
    yield,   ///< others may have it first, for a minute
    follow,  ///< others have it; this one says what has become of it
};

struct AwaitTurn {
    repo::TurnRequest turn;
    /// Where it is on record: in the first that answers.
    std::vector<repo::Repository> repositories;
    TurnPart part = TurnPart::take;
    bool standby = false;  ///< the server is one, and takes it as that only
    /// How long others may take it first, and how long somebody must have taken it in.
    std::chrono::milliseconds yields_for = std::chrono::minutes(1);
    std::chrono::milliseconds follows_for = std::chrono::minutes(10);
    std::chrono::milliseconds pause = std::chrono::seconds(5);
};

struct AwaitedTurn {
    std::unique_ptr<repo::Turn> turn;  ///< it is this server's; else, or if nobody keeps it, null
    std::string made_elsewhere;        ///< why it is not, in words; "": the run is to be made
};

/// Returns when it is known whose turn the run is, and if it is another server's when that has made
/// it, however long it takes. What has failed on another server is an error of that kind on the
/// primary, which keeps the history, and none on a standby. Where there is no stanza yet, and so
/// nothing that others could have made, there is no turn and the run is to be made.
Result<AwaitedTurn> await_turn(const AwaitTurn& request, db::Connection& connection,
                               const ProgressReceiver& progress, const Cancellation& cancel);

/// What is on record of a run that has failed: `error`, or nothing and so others have it at once,
/// if it was cancelled, as a server does that stops, or if its standby was promoted meanwhile.
void settle_failed_turn(std::unique_ptr<repo::Turn> turn, const AwaitTurn& request,
                        db::Connection& connection, const Error& error);

}  // namespace chronos::flows
