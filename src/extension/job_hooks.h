#pragma once

#include "extension/engine_session.h"
#include "extension/shared_state.h"

namespace chronos::extension {

/// Runs chronos.job_start_command, if there is one, in an engine. `done` if it ended with 0 or
/// there is none. `cancelled` is asked as in SessionPlan.
SessionResult run_start_hook(const JobSlot* job, bool (*cancelled)(void* context));

/// Runs chronos.job_end_command, if there is one. What goes wrong with it is a warning: the job has
/// ended as it has ended.
void run_end_hook(const JobSlot* job, const SessionResult* outcome,
                  bool (*cancelled)(void* context));

/// What a job with that outcome has become.
JobState state_of(SessionOutcome outcome);

}  // namespace chronos::extension
