#pragma once

#include "extension/job_types.h"
#include "extension/shared_state.h"

namespace chronos::extension {

/// What is wanted of a new job.
struct JobRequest {
    const JobType* type;
    const char* options;  ///< of the engine, one a line
    const char* requested_by;
};

/// Puts a job into shared memory and wakes the launcher; returns its number. Raises if there is no
/// launcher or no place. Inside a transaction, for the history may have to be asked for the number.
int64 queue_job(const JobRequest* request);

/// Raises if what does not fit into JobSlot::options is asked for.
void require_options_fit(const StringInfoData* options, const char* what);

}  // namespace chronos::extension
