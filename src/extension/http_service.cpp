#include "extension/engine_process.h"
#include "extension/health.h"
#include "extension/heartbeat.h"
#include "extension/postgres_api.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/steady_time.h"

/// The worker whose engine is `chronos serve`. It does no more than start that, write what it says
/// to the log, and start it again when it has ended: whatever is asked over HTTP reaches no process
/// of the server. It has no session; what shared memory knows of jobs it passes on by itself, every
/// few seconds.

namespace chronos::extension {
namespace {

constexpr long kIdleMs = 60000;
constexpr int kFirstPauseMs = 1000;
constexpr int kDoublings = 6;
/// One that ran for so long has not failed at its start.
constexpr int kStableMs = 60000;
/// How often the engine is told of jobs: while one is active, and otherwise when one has changed,
/// or after a while so that it knows that nothing has.
constexpr long kLookAtJobsMs = 2000;
constexpr int kTellIdleMs = 20000;
/// Between two starts of the worker, whatever ends it.
constexpr int kWorkerPauseMs = 5000;

SteadyTime started_at;
int failures;
/// When the engine was last told of jobs, and what of them.
SteadyTime told_at;
uint64 told_of;
/// With what it was started: a change of these settings starts it anew.
char started_with[1024];

void begin_service_arguments(Arguments* arguments) {
    begin_arguments(arguments, "serve");
    add_health_options(arguments);
    if (settings.health_interval_s > 0)
        add_argument(arguments, psprintf("--health-interval=%ds", settings.health_interval_s));
    add_argument(arguments, psprintf("--http-listen=%s", settings.http_listen));
}

void describe_arguments(const Arguments* arguments, char* text, Size size) {
    text[0] = '\0';
    for (int i = 0; i < arguments->count; ++i) {
        strlcat(text, arguments->item[i], size);
        strlcat(text, "\n", size);
    }
}

void start_service(const Arguments* arguments, const char* description) {
    started_at = steady_now();
    told_at = 0;
    strlcpy(started_with, description, sizeof started_with);
    const Failure failure = start_engine(arguments);
    if (!failure.happened) return;
    ++failures;
    ereport(WARNING, (errmsg("chronos: serve could not be started: %s", failure.message),
                      failure.hint[0] != '\0' ? errhint("%s", failure.hint) : 0));
}

void relay_message() {
    if (strcmp(engine_verb(), "log") == 0) relay_log_message(/*resident=*/false);
    if (strcmp(engine_verb(), "failed") != 0) return;
    const char* message = engine_field("message");
    const char* hint = engine_field("hint");
    ereport(WARNING,
            (errmsg("chronos: serve failed: %s", message != nullptr ? message : "no reason given"),
             hint != nullptr && *hint != '\0' ? errhint("%s", hint) : 0));
}

/// What it has said since; false once it has ended.
bool listen_to_service() {
    for (;;) {
        switch (engine_receive()) {
            case EngineEvent::nothing: return true;
            case EngineEvent::message: relay_message(); break;
            case EngineEvent::ended: return false;
        }
    }
}

void end_service(const char* why) {
    stop_engine(kExitGraceMs);
    if (has_passed(started_at, kStableMs)) failures = 0;
    ++failures;
    ereport(LOG,
            (errmsg("chronos: serve has ended: %s", why != nullptr ? why : engine_end_reason())));
}

long pause_left_ms() {
    if (failures == 0) return 0;
    const int64 pause_ms = static_cast<int64>(kFirstPauseMs) << Min(failures - 1, kDoublings);
    return left_until_ms(started_at + 1000 * pause_ms);
}

long keep_running(const Arguments* arguments) {
    char description[sizeof started_with];
    describe_arguments(arguments, description, sizeof description);
    const bool changed = strcmp(description, started_with) != 0;
    if (engine_running() && changed) end_service("its settings have changed");
    if (changed) failures = 0;
    if (engine_running() && !listen_to_service()) end_service(nullptr);
    if (!engine_running() && pause_left_ms() == 0) start_service(arguments, description);
    return engine_running() ? kIdleMs : pause_left_ms();
}

const char* unix_seconds(TimestampTz time) {
    return time == 0 ? "0"
                     : psprintf(INT64_FORMAT, static_cast<int64>(timestamptz_to_time_t(time)));
}

const char* counted(pg_atomic_uint64* counter) {
    return psprintf(UINT64_FORMAT, pg_atomic_read_u64(counter));
}

void queue_job(JobSlot* job) {
    const char* fields[] = {"id",
                            psprintf(INT64_FORMAT, job->id),
                            "type",
                            job->type,
                            "state",
                            job_state_name(job->state),
                            "requested_by",
                            job->requested_by,
                            "schedule",
                            job->schedule,
                            "phase",
                            job->phase,
                            "label",
                            job->label,
                            "error",
                            job->error,
                            "hint",
                            job->hint,
                            "requested_at",
                            unix_seconds(job->requested_at),
                            "started_at",
                            unix_seconds(job->started_at),
                            "finished_at",
                            unix_seconds(job->finished_at),
                            "due_at",
                            unix_seconds(job->due_at),
                            "phase_started_at",
                            unix_seconds(job->phase_started_at),
                            "bytes_done",
                            counted(&job->bytes_done),
                            "bytes_total",
                            counted(&job->bytes_total),
                            "files_done",
                            counted(&job->files_done),
                            "files_total",
                            counted(&job->files_total),
                            "still_for",
                            psprintf(INT64_FORMAT, overdue_us(job) / USECS_PER_SEC),
                            nullptr};
    // Memory that is short here is short for the next look too: that one tells of it.
    (void)engine_queue("job", fields);
}

/// Which jobs there are and in which states, and whether one is active.
uint64 summary_of(const JobSlot* jobs, bool* active) {
    uint64 sum = 1;
    for (int i = 0; i < kJobSlots; ++i) {
        if (jobs[i].state == JobState::free) continue;
        *active = *active || !is_finished(jobs[i].state);
        sum = sum * 1000003 + static_cast<uint64>(jobs[i].id) * 16 +
              static_cast<uint64>(jobs[i].state);
    }
    return sum;
}

/// Tells the engine of the jobs in shared memory, if it is time; true if it has not taken all yet.
bool tell_of_jobs() {
    if (!engine_running()) return false;
    if (engine_send()) return true;
    JobSlot* jobs = static_cast<JobSlot*>(palloc(sizeof shared->slots));
    LWLockAcquire(shared->lock, LW_SHARED);
    memcpy(static_cast<void*>(jobs), shared->slots, sizeof shared->slots);
    LWLockRelease(shared->lock);
    bool active = false;
    const uint64 summary = summary_of(jobs, &active);
    const bool news =
        active || summary != told_of || told_at == 0 || has_passed(told_at, kTellIdleMs);
    if (!news) return false;
    told_at = steady_now();
    told_of = summary;
    for (int i = 0; i < kJobSlots; ++i)
        if (jobs[i].state != JobState::free) queue_job(&jobs[i]);
    const char* fields[] = {nullptr};
    (void)engine_queue("jobs", fields);
    return engine_send();
}

bool is_wanted() {
    return settings.http_listen != nullptr && *settings.http_listen != '\0';
}

void wait_for_news(long limit_ms, bool sending) {
    const int fd = engine_fd();
    const int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH |
                       (fd >= 0 ? WL_SOCKET_READABLE : 0) |
                       (fd >= 0 && sending ? WL_SOCKET_WRITEABLE : 0);
    limit_ms = Min(limit_ms, heartbeat_pause_ms());
    beat(Subject::serve, limit_ms);
    WaitLatchOrSocket(MyLatch, events, fd >= 0 ? fd : PGINVALID_SOCKET, limit_ms,
                      wait_event(Wait::engine));
    ResetLatch(MyLatch);
    tell_of_stillness(Subject::launcher);
}

void run_service() {
    MemoryContext context =
        AllocSetContextCreate(TopMemoryContext, "chronos serve", ALLOCSET_SMALL_SIZES);
    MemoryContextSwitchTo(context);
    while (is_wanted() && !ShutdownRequestPending) {
        Arguments arguments;
        begin_service_arguments(&arguments);
        const long limit_ms = keep_running(&arguments);
        const bool sending = tell_of_jobs();
        wait_for_news(engine_running() ? Min(limit_ms, kLookAtJobsMs) : limit_ms, sending);
        MemoryContextReset(context);
        if (!ConfigReloadPending) continue;
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
    if (engine_running() && !is_wanted()) end_service("chronos.http_listen is empty");
    stop_engine(kExitGraceMs);
}

bool worker_runs(BackgroundWorkerHandle* handle) {
    pid_t pid = 0;
    if (handle == nullptr) return false;
    const BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);
    return status == BGWH_STARTED || status == BGWH_NOT_YET_STARTED;
}

/// Of the launcher.
BackgroundWorkerHandle* service_worker;
SteadyTime worker_started_at;

}  // namespace

long look_after_http_service() {
    if (!is_wanted()) rest(Subject::serve);
    if (!is_wanted() || worker_runs(service_worker)) return kIdleMs;
    expect(Subject::serve, kWorkerPauseMs);
    if (worker_started_at != 0 && !has_passed(worker_started_at, kWorkerPauseMs))
        return kWorkerPauseMs;
    worker_started_at = steady_now();
    BackgroundWorker worker;
    memset(&worker, 0, sizeof worker);
    strlcpy(worker.bgw_name, "chronos serve", sizeof worker.bgw_name);
    strlcpy(worker.bgw_type, "chronos serve", sizeof worker.bgw_type);
    strlcpy(worker.bgw_library_name, "chronos_backup", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, "chronos_serve_main", sizeof worker.bgw_function_name);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
    worker.bgw_start_time = BgWorkerStart_PostmasterStart;  // on a standby too
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_notify_pid = MyProcPid;
    if (service_worker != nullptr) pfree(service_worker);
    service_worker = nullptr;
    MemoryContext former = MemoryContextSwitchTo(TopMemoryContext);
    const bool registered = RegisterDynamicBackgroundWorker(&worker, &service_worker);
    MemoryContextSwitchTo(former);
    if (!registered)
        ereport(WARNING, (errmsg("chronos: no background worker is free for chronos.http_listen"),
                          errhint("Increase max_worker_processes.")));
    return kIdleMs;
}

}  // namespace chronos::extension

extern "C" {
PGDLLEXPORT void chronos_serve_main(Datum argument);

void chronos_serve_main(Datum) {
    using namespace chronos::extension;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
    BackgroundWorkerUnblockSignals();
    run_service();
    proc_exit(0);
}
}
