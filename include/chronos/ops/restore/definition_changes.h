#pragma once

#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/progress.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/pgdata/wal_drops.h"

namespace chronos::ops::restore {

/// Every commit on the way of the plan, from its backup on, that changed what is known of a
/// relation, in the order of the WAL. Reads all of it: nothing but the WAL knows. A segment that
/// cannot be read is an error, for what it names would be missing.
Result<std::vector<pgdata::DefinitionChange>> read_definition_changes(
    const RestorePlan& plan, unsigned process_max, const Cancellation& cancel,
    const ProgressReceiver& progress);

}  // namespace chronos::ops::restore
