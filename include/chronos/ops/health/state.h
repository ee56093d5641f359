#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/clock.h"
#include "chronos/base/result.h"
#include "chronos/db/connection.h"
#include "chronos/ops/health/alert.h"
#include "chronos/ops/health/health.h"

/// The states of rules that the server remembers (chronos.health_state), so that a change is told
/// once, whichever process notices it.
namespace chronos::ops::health {

/// nullopt where the extension does not exist in the database at hand: nothing is remembered there.
Result<std::optional<RuleMemories>> load_states(db::Connection& connection);

struct AlertRequest {
    std::string stanza;
    UnixTime now = 0;
    AlertSettings receivers;
};

/// Notes the states of `rules` in `memories` and in the server. The log and those who listen
/// (NOTIFY chronos_alert) hear of a change once; receivers outside may be out of reach, and are
/// told until they have answered. An error is the session's: a receiver that cannot be reached is
/// logged.
Result<> tell_of_changes(const AlertRequest& request, db::Connection& connection,
                         std::vector<Rule>& rules, RuleMemories& memories,
                         const Cancellation& cancel);

}  // namespace chronos::ops::health
