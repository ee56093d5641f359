#pragma once

#include "extension/postgres_api.h"

namespace chronos::extension {

/// Writes every finished job that chronos.job_history does not have yet, in a transaction of its
/// own. Does nothing where the extension has not been created. Any error is a warning: a job that
/// has been done does not fail for its record. For a job worker, outside of a transaction.
void record_finished_jobs();

/// The largest job number in the history of this database; 0 if there is none. Inside a
/// transaction.
int64 last_recorded_job();

}  // namespace chronos::extension
