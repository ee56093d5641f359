#pragma once

#include "extension/shared_state.h"

namespace chronos::extension {

/// The error of a job that the server has stopped under.
#define CHRONOS_LOST_JOB "the server stopped before the job was finished"

/// Writes a job that has begun into chronos.job_history, in a transaction of its own: should the
/// server die with it, a trace is left. Errors and where there is no extension: as below.
void record_started_job(int64 id);

/// Writes every finished job that chronos.job_history does not have yet, and removes what
/// chronos.job_history_retention does not want any more, in a transaction of its own. Does nothing
/// where the extension has not been created. Any error is a warning: a job that has been done does
/// not fail for its record. For a background worker, outside of a transaction.
void record_finished_jobs();

/// Writes what a job has told of tables that it has brought back into chronos.table_recoveries, in
/// a transaction of its own; `report` is JSON in UTF-8. Errors and where there is no extension: as
/// above.
void record_recovered_tables(int64 id, const char* report);

/// Marks jobs as failed that the history says are running and shared memory does not know: the
/// server has stopped under them. Inside a transaction, with SPI connected.
void record_lost_jobs();

/// The largest job number in the history of this database; 0 if there is none. Inside a
/// transaction.
int64 last_recorded_job();

/// {"copy": 12.3, ...}: seconds by phase.
Datum phases_as_jsonb(const JobSlot* job);

/// Whether it is known what the threads of a copy spent their time on; and that, in seconds of all
/// threads together, with the bytes read and stored.
bool has_stages(const JobSlot* job);
Datum stages_as_jsonb(const JobSlot* job);

}  // namespace chronos::extension
