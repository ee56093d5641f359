#pragma once

#include "extension/job_types.h"
#include "extension/shared_state.h"

namespace chronos::extension {

/// What is wanted of a new job.
struct JobRequest {
    const JobType* type;
    const char* options;  ///< of the engine, one a line
    const char* requested_by;
    const char* requested_from;
    const char* schedule;     ///< "" if none
    TimestampTz due_at;       ///< 0 without schedule
    int attempt;              ///< 0 without schedule
    const char* skip_reason;  ///< nullptr: to be run; else it is finished at once, as skipped
    const char* refusal;      ///< nullptr: to be run; else it is finished at once, as failed
    const char* hint;         ///< of the refusal
};

/// What tells a job from all others, also after numbers began again.
struct JobIdentity {
    int64 id;
    TimestampTz requested_at;
};

/// Puts a job into shared memory and wakes the launcher. Raises if there is no
/// launcher or no place. Inside a transaction, for the history may have to be asked for the number.
JobIdentity queue_job(const JobRequest* request);

/// Raises if what does not fit into JobSlot::options is asked for.
void require_options_fit(const StringInfoData* options, const char* what);

}  // namespace chronos::extension
