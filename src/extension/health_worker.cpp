#include "extension/health.h"
#include "extension/heartbeat.h"
#include "extension/postgres_api.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/steady_time.h"
#include "extension/worker_session.h"

/// The health worker: every chronos.health_interval it lends an engine a session, which looks at
/// repositories and server, tells of what has changed and remembers it. Short-lived, so that no
/// session stands in the way of those who want to drop or copy chronos.database.

namespace chronos::extension {
namespace {

/// Of a worker that failed, for instance because the database does not exist.
constexpr int kDoublings = 6;
constexpr long kRecoveryMs = 5000;
constexpr long kRunningMs = 1000;
/// As long as it is under way it counts as alive; but not for ever.
constexpr int kSlowMs = 600000;
/// A worker that takes longer waits for something that does not come.
constexpr int kRunMaxMs = 1800000;

BackgroundWorkerHandle* worker_handle;
SteadyTime started_at;
int failures;

bool worker_runs() {
    pid_t pid = 0;
    if (worker_handle == nullptr) return false;
    const BgwHandleStatus status = GetBackgroundWorkerPid(worker_handle, &pid);
    return status == BGWH_STARTED || status == BGWH_NOT_YET_STARTED;
}

bool last_run_succeeded() {
    LWLockAcquire(shared->lock, LW_SHARED);
    const bool succeeded = shared->health_checked_at >= started_at;
    LWLockRelease(shared->lock);
    return succeeded;
}

void start_health_worker() {
    BackgroundWorker worker;
    memset(&worker, 0, sizeof worker);
    strlcpy(worker.bgw_name, "chronos health", sizeof worker.bgw_name);
    strlcpy(worker.bgw_type, "chronos health", sizeof worker.bgw_type);
    strlcpy(worker.bgw_library_name, "chronos_backup", sizeof worker.bgw_library_name);
    strlcpy(worker.bgw_function_name, "chronos_health_main", sizeof worker.bgw_function_name);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = BGW_NEVER_RESTART;
    worker.bgw_notify_pid = MyProcPid;
    if (worker_handle != nullptr) pfree(worker_handle);
    worker_handle = nullptr;
    MemoryContext former = MemoryContextSwitchTo(TopMemoryContext);
    const bool registered = RegisterDynamicBackgroundWorker(&worker, &worker_handle);
    MemoryContextSwitchTo(former);
    if (!registered)
        ereport(WARNING, (errmsg("chronos: no background worker is free to check the health"),
                          errhint("Increase max_worker_processes.")));
}

int64 interval_ms() {
    return int64{1000} * settings.health_interval_s;
}

/// Looking at a distant repository takes its time. Asked a few times a second; never cancels.
bool give_sign(void* context) {
    if (!has_passed(*static_cast<SteadyTime*>(context), kSlowMs))
        beat(Subject::health, interval_ms());
    return false;
}

void check_health() {
    MemoryContext context =
        AllocSetContextCreate(TopMemoryContext, "chronos health", ALLOCSET_DEFAULT_SIZES);
    MemoryContextSwitchTo(context);
    Arguments arguments;
    begin_arguments(&arguments, "health");
    add_health_options(&arguments);
    add_argument(&arguments, psprintf("--health-interval=%ds", Max(settings.health_interval_s, 1)));
    add_argument(&arguments, "--alert");
    SessionPlan plan = {};
    plan.own_transactions = true;
    SteadyTime begun = steady_now();
    plan.cancelled = give_sign;
    plan.context = &begun;
    const SessionResult result = run_engine(&arguments, &plan);
    if (result.outcome == SessionOutcome::done) {
        LWLockAcquire(shared->lock, LW_EXCLUSIVE);
        shared->health_checked_at = steady_now();
        LWLockRelease(shared->lock);
        beat(Subject::health, interval_ms());
        return;
    }
    ereport(WARNING, (errmsg("chronos: health could not be checked: %s", result.message),
                      *result.hint != '\0' ? errhint("%s", result.hint) : 0));
}

}  // namespace

void add_health_options(Arguments* arguments) {
    const struct {
        const char* option;
        int value;
        const char* unit;
    } limits[] = {
        {"backup-age", settings.health_backup_age_s, "s"},
        {"backup-duration", settings.health_backup_duration_s, "s"},
        {"disk-free", settings.health_disk_free_percent, ""},
        {"drill-age", settings.health_drill_age_s, "s"},
        {"repo-growth", settings.health_repo_growth_percent, ""},
        {"repo-size", settings.health_repo_size_mb, "MB"},
        {"rpo", settings.health_rpo_s, "s"},
        {"rto", settings.health_rto_s, "s"},
        {"verify-age", settings.health_verify_age_s, "s"},
        {"wal-lag", settings.health_wal_lag_s, "s"},
    };
    for (const auto& limit : limits)
        if (limit.value >= 0)
            add_argument(arguments,
                         psprintf("--health-%s=%d%s", limit.option, limit.value, limit.unit));
}

long look_after_health() {
    if (settings.health_interval_s == 0 || RecoveryInProgress()) {
        rest(Subject::health);
        // Nobody tells when the recovery ends.
        return RecoveryInProgress() ? kRecoveryMs : 60000;
    }
    expect(Subject::health, interval_ms());
    if (worker_runs()) {
        if (has_passed(started_at, kRunMaxMs)) TerminateBackgroundWorker(worker_handle);
        return kRunningMs;
    }
    if (started_at != 0) {
        if (last_run_succeeded()) failures = 0;
        const int64 pause_ms = static_cast<int64>(settings.health_interval_s) * 1000
                               << Min(failures, kDoublings);
        const long left_ms = left_until_ms(started_at + 1000 * pause_ms);
        if (left_ms > 0) return left_ms;
    }
    started_at = steady_now();
    ++failures;
    start_health_worker();
    return kRunningMs;
}

}  // namespace chronos::extension

extern "C" {
PGDLLEXPORT void chronos_health_main(Datum argument);

void chronos_health_main(Datum) {
    using namespace chronos::extension;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    connect_worker();
    // Somebody who holds a lock on one of our tables is told of, not waited for.
    SetConfigOption("lock_timeout", "10s", PGC_SUSET, PGC_S_OVERRIDE);
    refuse_given_away();
    check_health();
    proc_exit(0);
}
}
