#pragma once

#include "extension/job_types.h"
#include "extension/shared_state.h"

/// What SQL functions that start jobs have in common.
namespace chronos::extension {

/// Raises an error on a standby.
void require_primary_for_jobs();

/// Queues a job for the caller, with options of the engine, one a line; `what` they are called if
/// they are too long. Returns its number, and notes it in the record of the call.
int64 submit_job(const JobType* type, StringInfo options, const char* what);

/// Sleeps until the job is finished, `limit_ms` have passed (-1: never), or the query is cancelled.
void await_job(int64 id, int64 limit_ms, JobSlot* job);

/// The same until it is finished; whatever ends the wait before that cancels the job.
void await_own_job(int64 id, JobSlot* job);

}  // namespace chronos::extension
