#pragma once

#include "chronos/ops/drill/drill.h"
#include "ops/drill/server.h"

namespace chronos::ops::drill {

/// What every report has: version, databases and tables, last transaction and LSN replayed.
Result<> read_facts(const DrillRequest& request, DrillServer& server, const Cancellation& cancel,
                    DrillReport& report);

/// Assertions, amcheck and commands, in this order; each appends to report.checks. What fails is an
/// outcome; errors are of the server as a whole (kinds db_connect, cancelled).
Result<> run_checks(const DrillRequest& request, DrillServer& server, const Scratch& scratch,
                    const ProgressReceiver& progress, const Cancellation& cancel,
                    DrillReport& report);

}  // namespace chronos::ops::drill
