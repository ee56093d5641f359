#include "extension/launcher.h"
#include "chronos/base/error_kind.h"

#include "extension/health.h"
#include "extension/heartbeat.h"
#include "extension/job_types.h"
#include "extension/postgres_api.h"
#include "extension/schedule_time.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/steady_time.h"
#include "extension/wal_state.h"
#include "extension/wal_stream.h"

/// The launcher: a static background worker that starts a worker for each queued job, the scheduler
/// when a schedule is due, and tells the archiver when the server is on its way down.
///
/// It has no database connection on purpose: a session would keep chronos.database from being
/// dropped or used as a template, and could not start while that database does not exist.

namespace chronos::extension {
namespace {

constexpr long kIdleMs = 60000;
constexpr long kBusyMs = 1000;
constexpr long kRecoveryMs = 5000;
/// A scheduler that takes longer waits for something that does not come.
constexpr int kSchedulerMaxMs = 600000;
/// A wall clock that goes away from the other one by more has been set.
constexpr int64 kClockStepUs = 5 * USECS_PER_SEC;

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
    if (worker->job != slot->id) return has_passed(slot->claimed_steady, 60000);
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
            finish_job(id, JobState::failed, exit_code(ErrorKind::internal),
                       "job worker ended unexpectedly", "The server log tells why.");
        }
        busy = busy || (under_way && !lost);
    }
    return busy;
}

void fill_worker(BackgroundWorker* worker, const char* name, const char* type, const char* function,
                 int64 argument) {
    memset(worker, 0, sizeof *worker);
    strlcpy(worker->bgw_name, name, sizeof worker->bgw_name);
    strlcpy(worker->bgw_type, type, sizeof worker->bgw_type);
    strlcpy(worker->bgw_library_name, "chronos_backup", sizeof worker->bgw_library_name);
    strlcpy(worker->bgw_function_name, function, sizeof worker->bgw_function_name);
    worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker->bgw_restart_time = BGW_NEVER_RESTART;
    worker->bgw_notify_pid = MyProcPid;
    worker->bgw_main_arg = Int64GetDatum(argument);
}

/// The handle lives as long as the launcher.
bool register_worker(BackgroundWorker* worker, BackgroundWorkerHandle** handle) {
    MemoryContext former = MemoryContextSwitchTo(TopMemoryContext);
    const bool registered = RegisterDynamicBackgroundWorker(worker, handle);
    MemoryContextSwitchTo(former);
    return registered;
}

/// The scheduler this launcher has started last.
BackgroundWorkerHandle* scheduler;
SteadyTime scheduler_started_at;

bool scheduler_runs() {
    pid_t pid = 0;
    return scheduler != nullptr && GetBackgroundWorkerPid(scheduler, &pid) != BGWH_STOPPED;
}

/// A job that ended with its worker, or whose worker could not: somebody else has to write it into
/// the history. Once, and again a minute later if that could not either.
bool job_waits_for_record(SteadyTime now) {
    for (const JobSlot& slot : shared->slots)
        if (is_finished(slot.state) && !slot.recorded &&
            slot.finished_steady + 2 * USECS_PER_SEC < now &&
            (slot.finished_steady >= scheduler_started_at ||
             scheduler_started_at + USECS_PER_MINUTE < now))
            return true;
    return false;
}

/// How long after a scheduler another one is tried for what that did not get done.
int64 scheduler_retry_us() {
    constexpr int kDoublings = 6;
    return int64{60 * USECS_PER_SEC} << Min(shared->scheduler_failures, kDoublings);
}

/// Calls that chronos.audit_log does not have yet: those since the last scheduler began, at once.
bool calls_wait_for_record(SteadyTime now) {
    const AuditQueue* queue = &shared->audit;
    return queue->waiting() && (queue->latest_at >= scheduler_started_at ||
                                scheduler_started_at + scheduler_retry_us() < now);
}

/// By the clock of schedules, or because the time until then has passed and the clock was set.
bool schedules_are_due(SteadyTime now) {
    return shared->check_schedules_at <= schedule_now() || shared->check_schedules_by <= now;
}

/// A clock that was set has made every time that was worked out with it worthless.
void look_at_clock() {
    static int64 former;
    const int64 apart = GetCurrentTimestamp() - steady_now();
    const int64 step = apart - former;
    const bool was_set = former != 0 && (step > kClockStepUs || step < -kClockStepUs);
    former = apart;
    if (!was_set) return;
    ereport(LOG, (errmsg("chronos: the clock was set %s by %lld s: schedules are looked at anew",
                         step > 0 ? "forward" : "back",
                         static_cast<long long>((step > 0 ? step : -step) / USECS_PER_SEC))));
    wake_scheduler();
    // The archiver reckons by that clock when it tries again.
    PgArchWakeup();
}

/// Claims the turn of the scheduler. Should it fail, it gets another one later and later.
bool claim_scheduler_turn() {
    const SteadyTime now = steady_now();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    const bool writes = !RecoveryInProgress();
    const bool turn = shared->schedules_changed || schedules_are_due(now) ||
                      (writes && (job_waits_for_record(now) || calls_wait_for_record(now)));
    if (turn) {
        shared->schedules_changed = false;
        shared->check_schedules_at = schedule_now() + scheduler_retry_us();
        shared->check_schedules_by = now + scheduler_retry_us();
        ++shared->scheduler_failures;
        scheduler_started_at = now;
    }
    LWLockRelease(shared->lock);
    return turn;
}

/// A standby has the schedules of its primary, and sessions to back it up in: not yet, or never
/// with hot_standby = off.
bool looks_at_schedules() {
    static bool was_standby;
    const bool standby = RecoveryInProgress();
    // What has come due while nobody could write.
    if (was_standby && !standby) wake_scheduler();
    was_standby = standby;
    return !standby || (settings.backup_role != kBackupPrimary && HotStandbyActive());
}

void look_after_schedules() {
    if (!looks_at_schedules()) return;
    if (scheduler_runs()) {
        // Its session is one of those whose waits nobody else would end.
        if (has_passed(scheduler_started_at, kSchedulerMaxMs)) TerminateBackgroundWorker(scheduler);
        return;
    }
    if (!claim_scheduler_turn()) return;
    expect(Subject::scheduler, 0);
    BackgroundWorker worker;
    fill_worker(&worker, "chronos scheduler", "chronos scheduler", "chronos_scheduler_main", 0);
    if (RecoveryInProgress()) worker.bgw_start_time = BgWorkerStart_ConsistentState;
    if (scheduler != nullptr) pfree(scheduler);
    scheduler = nullptr;
    if (!register_worker(&worker, &scheduler))
        ereport(WARNING, (errmsg("chronos: no background worker is free to look at schedules"),
                          errhint("Increase max_worker_processes.")));
}

/// How long there is nothing to do, if nobody wakes the launcher.
long time_to_sleep_ms(bool busy) {
    // Nobody tells when the recovery ends.
    if (RecoveryInProgress()) return busy ? kBusyMs : kRecoveryMs;
    // Its end wakes us; until then its turn, past or to come, is nothing to hurry for.
    if (scheduler_runs()) return kBusyMs;
    LWLockAcquire(shared->lock, LW_SHARED);
    const int64 left_ms = Min((shared->check_schedules_at - schedule_now()) / 1000 + 1,
                              int64{left_until_ms(shared->check_schedules_by)});
    LWLockRelease(shared->lock);
    const long most = busy ? kBusyMs : kIdleMs;
    return static_cast<long>(Max(0, Min(left_ms, static_cast<int64>(most))));
}

/// Two that lock the repository would not wait for each other: the second one would fail.
bool is_exclusive(const JobSlot* slot) {
    const JobType* type = find_job_type(slot->type);
    return type != nullptr && type->exclusive;
}

/// The longest waiting job that can run now, marked as starting; -1 if there is none or enough are
/// under way.
int claim_next_job() {
    int next = -1;
    int under_way = 0;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    bool locked = false;
    for (const JobSlot& slot : shared->slots)
        if (slot.state == JobState::starting || slot.state == JobState::running) {
            ++under_way;
            locked = locked || is_exclusive(&slot);
        }
    for (int i = 0; i < kJobSlots; ++i) {
        const JobSlot* slot = &shared->slots[i];
        if (slot->state != JobState::queued || (locked && is_exclusive(slot))) continue;
        if (next < 0 || slot->id < shared->slots[next].id) next = i;
    }
    if (under_way >= settings.max_jobs) next = -1;
    if (next >= 0) {
        shared->slots[next].state = JobState::starting;
        shared->slots[next].started_at = GetCurrentTimestamp();
        shared->slots[next].claimed_steady = steady_now();
    }
    LWLockRelease(shared->lock);
    return next;
}

void start_worker(int slot) {
    const int64 job = shared->slots[slot].id;  // it changes only once the job is finished
    BackgroundWorker worker;
    char name[64];
    snprintf(name, sizeof name, "chronos job %lld", static_cast<long long>(job));
    fill_worker(&worker, name, "chronos job", "chronos_job_main", job);
    // A standby has jobs as well.
    worker.bgw_start_time = BgWorkerStart_ConsistentState;
    if (started[slot].handle != nullptr) pfree(started[slot].handle);
    started[slot] = {};
    BackgroundWorkerHandle* handle = nullptr;
    if (register_worker(&worker, &handle)) {
        started[slot] = {job, handle};
        return;
    }
    finish_job(job, JobState::failed, exit_code(ErrorKind::internal),
               "no background worker is free for the job", "Increase max_worker_processes.");
}

void start_queued_jobs() {
    for (int slot = claim_next_job(); slot >= 0; slot = claim_next_job()) start_worker(slot);
}

/// The archiver itself sleeps while there is nothing to archive.
bool wal_is_ready() {
    bool found = false;
    DIR* directory = AllocateDir("pg_wal/archive_status");
    while (const dirent* entry = ReadDirExtended(directory, "pg_wal/archive_status", LOG)) {
        const size_t length = strlen(entry->d_name);
        found = length > 6 && strcmp(entry->d_name + length - 6, ".ready") == 0;
        if (found) break;
    }
    FreeDir(directory);
    return found;
}

bool archiver_is_ours() {
    const char* library = XLogArchiveLibrary != nullptr ? XLogArchiveLibrary : "";
    const char* slash = strrchr(library, '/');
    return strncmp(slash != nullptr ? slash + 1 : library, "chronos_backup", 14) == 0;
}

bool archiver_is_wanted() {
    return archiver_is_ours() &&
           (RecoveryInProgress() ? XLogArchivingAlways() : XLogArchivingActive());
}

/// What others owe, and whether they have kept it. Whether this process still does is told by
/// those: the archiver, the worker of the dashboard, and every session that asks for health.
void look_after_heartbeats() {
    static SteadyTime looked_at;
    if (looked_at == 0 || has_passed(looked_at, 5000)) {
        looked_at = steady_now();
        if (archiver_is_wanted() && wal_is_ready())
            expect(Subject::archiver, 1000);
        else
            rest(Subject::archiver);
    }
    LWLockAcquire(shared->lock, LW_SHARED);
    const bool calls_wait = shared->audit.waiting();
    LWLockRelease(shared->lock);
    if (calls_wait && !RecoveryInProgress())
        expect(Subject::audit, 0);
    else
        rest(Subject::audit);
    for (int i = 0; i < kSubjects; ++i)
        if (static_cast<Subject>(i) != Subject::launcher)
            tell_of_stillness(static_cast<Subject>(i));
    tell_of_still_jobs();
}

/// Until the latch is set, or the engine that streams WAL says something.
void sleep_ms(long time_ms) {
    const int fd = stream_fd();
    const int events =
        WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | (fd >= 0 ? WL_SOCKET_READABLE : 0);
    WaitLatchOrSocket(MyLatch, events, fd >= 0 ? fd : PGINVALID_SOCKET, time_ms,
                      wait_event(Wait::launcher));
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
            wake_scheduler();  // its time zone or its database may be another one
        }
        if (!RecoveryInProgress()) sample_wal_rate();
        look_at_clock();
        const bool busy = look_after_workers();
        start_queued_jobs();
        look_after_schedules();
        long pause_ms = Min(time_to_sleep_ms(busy), stream_wal());
        pause_ms = Min(pause_ms, look_after_health());
        pause_ms = Min(pause_ms, look_after_http_service());
        look_after_heartbeats();
        pause_ms = Min(pause_ms, heartbeat_pause_ms());
        beat(Subject::launcher, pause_ms);
        sleep_ms(pause_ms);
    }
}
}
