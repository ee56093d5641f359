#pragma once

#include "extension/audit.h"
#include "extension/heartbeat.h"
#include "extension/postgres_api.h"
#include "extension/steady_time.h"
#include "extension/wal_state.h"

namespace chronos::extension {

inline constexpr int kJobSlots = 64;

/// queued -> starting (a worker has been asked for) -> running -> succeeded, failed or cancelled.
/// A scheduled job that another one makes superfluous is skipped from the beginning.
enum class JobState : int {
    free,
    queued,
    starting,
    running,
    succeeded,
    failed,
    cancelled,
    skipped
};

const char* job_state_name(JobState state);
bool is_finished(JobState state);

/// How long a phase of a job has taken.
struct PhaseTime {
    char name[24];
    int64 us;
};
inline constexpr int kPhases = 16;

/// What the threads of a copy have spent their time on, in milliseconds of all of them together.
struct CopyStages {
    int64 read_ms;
    int64 compute_ms;
    int64 store_ms;
    int64 clock_ms;
    int64 bytes;         ///< of the source
    int64 stored_bytes;  ///< of what was made of it
};

/// A job in shared memory: plain data only, its text in UTF-8 (text.h). Counters are atomic,
/// because the worker updates them a few times a second; all else is under SharedState::lock.
struct JobSlot {
    int64 id;
    JobState state;
    char type[16];       ///< JobType::name
    char options[4096];  ///< further options of the engine, one a line
    char requested_by[NAMEDATALEN];
    char requested_from[64];     ///< address of the client, "local"; "" for a schedule
    char schedule[NAMEDATALEN];  ///< "" if somebody asked for it
    TimestampTz due_at;          ///< of the schedule
    int attempt;                 ///< of the schedule, from 1
    TimestampTz requested_at;
    TimestampTz started_at;
    TimestampTz finished_at;
    /// The same moments by the clock that nobody sets: what intervals are made of.
    SteadyTime claimed_steady;
    SteadyTime finished_steady;
    SteadyTime phase_steady;
    char phase[24];
    TimestampTz phase_started_at;
    PhaseTime phases[kPhases];  ///< those that have ended, in order
    int phase_count;
    CopyStages copying;  ///< all 0: not told
    char label[64];
    char error[512];
    char hint[512];  ///< of a job that succeeded: what it left out
    /// Of a search for a drop that has found it.
    TimestampTz dropped_at;
    uint32 drop_xid;
    char drop_lsn[24];
    int error_code;           ///< exit code of the command line for the same failure; 0 if none
    Heartbeat sign;           ///< while it runs
    SteadyTime sign_was_due;  ///< wait_silently(); of its worker
    pid_t worker_pid;
    Latch* worker_latch;
    bool cancel_requested;
    bool of_standby;  ///< the server was one when it was asked for
    bool recorded;    ///< stands in chronos.job_history, if there is one
    pg_atomic_uint64 bytes_total;
    pg_atomic_uint64 bytes_done;
    pg_atomic_uint64 files_total;
    pg_atomic_uint64 files_done;
};

/// Up to where a standby has dealt with a schedule, whose table it cannot write.
struct ScheduleOnStandby {
    char name[NAMEDATALEN];
    TimestampTz due;
    int attempt;
};

struct SharedState {
    LWLock* lock;
    ConditionVariable changed;       ///< a job has changed its state
    pg_atomic_uint32 shutting_down;  ///< set by the launcher once the server is on its way down
    pid_t launcher_pid;              ///< 0: there is none
    Latch* launcher_latch;
    SteadyTime health_checked_at;    ///< the last time that it could be
    int64 next_id;                   ///< 0: the history has not been asked yet
    bool next_id_of_standby;         ///< the primary has gone on with numbers since
    bool schedules_changed;          ///< look at them now
    TimestampTz check_schedules_at;  ///< look at them then, by schedule_now()
    SteadyTime check_schedules_by;   ///< and then at the latest, wherever the clock has gone
    int scheduler_failures;          ///< starts since a scheduler last got through
    char unusable_schedules[256];    ///< which, and why; "": all can be used
    SteadyTime unusable_since;
    bool sql_version_told;             ///< tell_of_sql_version() has looked
    pg_atomic_uint64 clock_offset_us;  ///< of schedule_now(); tests set it
    Heartbeat heartbeats[kSubjects];
    WalState wal;
    AuditQueue audit;
    ScheduleOnStandby on_standby[kJobSlots];
    JobSlot slots[kJobSlots];
};

/// nullptr unless the module is in shared_preload_libraries. Everything in it is lost when the
/// server restarts after a crash.
extern SharedState* shared;

/// Installs the hooks that reserve and find it; while the postmaster preloads.
void request_shared_state();

/// ereport(ERROR) with a hint unless the module has been preloaded.
void require_preloaded();

/// The slot of a job, nullptr if it is not (any more) in shared memory. Under the lock.
JobSlot* find_job(int64 id);

/// A copy of the job; false if shared memory does not have it. Takes the lock.
bool look_up_job(int64 id, JobSlot* copy);

/// The phase the job is in from now on, "" at its end. Under the lock.
void enter_phase(JobSlot* slot, const char* phase);

/// Schedules or their jobs have changed: the launcher is to have them looked at.
void wake_scheduler();

/// Ends a job that is not finished yet; a later end does not replace the first. Wakes all waiters.
/// Safe in exit callbacks: it does not raise.
void finish_job(int64 id, JobState state, int error_code, const char* error, const char* hint);

/// The same for a slot at hand, under the lock; notify_finished() has to follow.
void finish_slot(JobSlot* slot, JobState state, int error_code, const char* error,
                 const char* hint);
void notify_finished();

/// True once the postmaster has begun to stop the server, from what it notes in postmaster.pid.
/// Reads a small file: not for a loop that does not wait.
bool postmaster_is_stopping();

}  // namespace chronos::extension
