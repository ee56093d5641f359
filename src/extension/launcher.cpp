#include "extension/launcher.h"

#include "extension/postgres_api.h"
#include "extension/settings.h"
#include "extension/shared_state.h"

/// The launcher: a static background worker that starts a worker for each queued job and tells the
/// archiver when the server is on its way down.
///
/// It has no database connection on purpose: a session would keep chronos.database from being
/// dropped or used as a template, and could not start while that database does not exist.

namespace chronos::extension {
namespace {

constexpr long kIdleMs = 60000;
constexpr long kBusyMs = 1000;

/// What the postmaster calls the workers this launcher asked for; by slot.
struct Started {
    int64 job;
    BackgroundWorkerHandle* handle;
};
Started started[kJobSlots];

/// The postmaster signals it when a worker has been started or has ended.
void wake_up(SIGNAL_ARGS) {
    const int saved_errno = errno;
    SetLatch(MyLatch);
    errno = saved_errno;
}

void register_presence() {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->launcher_latch = MyLatch;
    shared->launcher_pid = MyProcPid;
    LWLockRelease(shared->lock);
    pg_atomic_write_u32(&shared->shutting_down, 0);
}

void withdraw(int, Datum) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->launcher_latch = nullptr;
    shared->launcher_pid = 0;
    LWLockRelease(shared->lock);
}

/// True if the job of the slot has no process any more that could end it.
bool lost_its_worker(const JobSlot* slot, const Started* worker) {
    if (slot->state == JobState::running)
        return slot->worker_pid != 0 && kill(slot->worker_pid, 0) != 0 && errno == ESRCH;
    if (slot->state != JobState::starting) return false;
    pid_t pid = 0;
    // A job that a former launcher started: its handle is gone, the worker has had time to begin.
    if (worker->job != slot->id)
        return TimestampDifferenceExceeds(slot->started_at, GetCurrentTimestamp(), 60000);
    return GetBackgroundWorkerPid(worker->handle, &pid) == BGWH_STOPPED;
}

/// Reports whether a job is under way.
bool look_after_workers() {
    bool busy = false;
    for (int i = 0; i < kJobSlots; ++i) {
        LWLockAcquire(shared->lock, LW_SHARED);
        const JobSlot* slot = &shared->slots[i];
        const int64 id = slot->id;
        const bool under_way =
            slot->state == JobState::starting || slot->state == JobState::running;
        const bool lost = under_way && lost_its_worker(slot, &started[i]);
        LWLockRelease(shared->lock);
        if (lost) {
            finish_job(id, JobState::failed, 25, "job worker ended unexpectedly",
                       "The server log tells why.");
        }
        busy = busy || (under_way && !lost);
    }
    return busy;
}

/// The longest waiting job, marked as starting; -1 if there is none or enough are under way.
int claim_next_job() {
    int next = -1;
    int under_way = 0;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    for (int i = 0; i < kJobSlots; ++i) {
        const JobSlot* slot = &shared->slots[i];
        if (slot->state == JobState::starting || slot->state == JobState::running) ++under_way;
        if (slot->state == JobState::queued && (next < 0 || slot->id < shared->slots[next].id))
            next = i;
    }
    if (under_way >= settings.max_jobs) next = -1;
    if (next >= 0) {
        shared->slots[next].state = JobState::starting;
        shared->slots[next].started_at = GetCurrentTimestamp();
    }
    LWLockRelease(shared->lock);
    return next;
}

void fill_worker(BackgroundWorker* worker, int64 job) {
    memset(worker, 0, sizeof *worker);
    snprintf(worker->bgw_name, sizeof worker->bgw_name, "chronos job %lld",
             static_cast<long long>(job));
    strlcpy(worker->bgw_type, "chronos job", sizeof worker->bgw_type);
    strlcpy(worker->bgw_library_name, "chronos_backup", sizeof worker->bgw_library_name);
    strlcpy(worker->bgw_function_name, "chronos_job_main", sizeof worker->bgw_function_name);
    worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker->bgw_restart_time = BGW_NEVER_RESTART;
    worker->bgw_notify_pid = MyProcPid;
    worker->bgw_main_arg = Int64GetDatum(job);
}

void start_worker(int slot) {
    const int64 job = shared->slots[slot].id;  // it changes only once the job is finished
    BackgroundWorker worker;
    fill_worker(&worker, job);
    if (started[slot].handle != nullptr) pfree(started[slot].handle);
    started[slot] = {};
    MemoryContext former = MemoryContextSwitchTo(TopMemoryContext);
    BackgroundWorkerHandle* handle = nullptr;
    const bool registered = RegisterDynamicBackgroundWorker(&worker, &handle);
    MemoryContextSwitchTo(former);
    if (registered) {
        started[slot] = {job, handle};
        return;
    }
    finish_job(job, JobState::failed, 25, "no background worker is free for the job",
               "Increase max_worker_processes.");
}

void start_queued_jobs() {
    for (int slot = claim_next_job(); slot >= 0; slot = claim_next_job()) start_worker(slot);
}

/// Exit status 1, so that the postmaster starts it again should this not be the end of the server.
[[noreturn]] void leave() {
    if (postmaster_is_stopping()) pg_atomic_write_u32(&shared->shutting_down, 1);
    proc_exit(1);
}

}  // namespace

void register_launcher() {
    BackgroundWorker worker;
    memset(&worker, 0, sizeof worker);
    strlcpy(worker.bgw_name, "chronos launcher", sizeof worker.bgw_name);
    strlcpy(worker.bgw_type, "chronos launcher", sizeof worker.bgw_type);
    strlcpy(worker.bgw_library_name, "chronos_backup", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, "chronos_launcher_main", sizeof worker.bgw_function_name);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
    // As early as possible: it serves the archiver of a standby too.
    worker.bgw_start_time = BgWorkerStart_PostmasterStart;
    worker.bgw_restart_time = 5;
    RegisterBackgroundWorker(&worker);
}

}  // namespace chronos::extension

extern "C" {
PGDLLEXPORT void chronos_launcher_main(Datum argument);

void chronos_launcher_main(Datum) {
    using namespace chronos::extension;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    pqsignal(SIGUSR1, wake_up);
    BackgroundWorkerUnblockSignals();
    before_shmem_exit(withdraw, 0);
    register_presence();
    for (;;) {
        ResetLatch(MyLatch);
        if (ShutdownRequestPending) leave();
        if (ConfigReloadPending) {
            ConfigReloadPending = false;
            ProcessConfigFile(PGC_SIGHUP);
        }
        const bool busy = look_after_workers();
        start_queued_jobs();
        WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                  busy ? kBusyMs : kIdleMs, wait_event(Wait::launcher));
    }
}
}
