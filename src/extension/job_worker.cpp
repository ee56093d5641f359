#include "chronos/base/error_kind.h"
#include "extension/audit.h"
#include "extension/engine_process.h"
#include "extension/engine_session.h"
#include "extension/job_history.h"
#include "extension/job_hooks.h"
#include "extension/job_types.h"
#include "extension/postgres_api.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/text.h"
#include "extension/worker_session.h"

/// The worker of one job: holds the session in which the engine's statements run (so also the
/// online backup, which ends with it), and keeps the job's slot in shared memory up to date.

namespace chronos::extension {
namespace {

/// A job that writes into this server takes that back when it is asked to end, however large it is.
constexpr int kHomeGraceMs = 120000;

int64 job_id;
/// How the job has ended, while only the command behind it is left to run.
const SessionResult* decided;
/// What ended this process, for the job's record: it is told to the log only.
char last_error[512];
emit_log_hook_type former_log_hook;

/// What the engine has told about the outcome so far.
struct Report {
    unsigned long long status;  ///< of `done`: an exit code of the command line
    int failures;
    char first[512];
    char first_hint[512];
    char warning[sizeof JobSlot::hint];  ///< of `done`: what the job, which succeeded, left undone
    char skipped[512];     ///< of `done`: why the run is not this server's; "" if it is
    const char* tables;    ///< of `done`: JSON, of a job that brings tables back; nullptr: nothing
    int left_undone_code;  ///< of what was to be done beside the work proper; 0: nothing
    char left_undone[512];
};
Report report;

void remember_error(ErrorData* error) {
    if (error->elevel >= ERROR && error->message != nullptr)
        clip_utf8(last_error, sizeof last_error, error->message);
    if (former_log_hook != nullptr) former_log_hook(error);
}

void finish_with(const SessionResult* result) {
    const bool cancelled = result->outcome == SessionOutcome::cancelled;
    finish_job(job_id, state_of(result->outcome),
               cancelled ? exit_code(ErrorKind::cancelled) : result->code,
               cancelled ? "cancelled" : result->message, cancelled ? "" : result->hint);
}

bool cancel_requested(void*) {
    LWLockAcquire(shared->lock, LW_SHARED);
    const JobSlot* slot = find_job(job_id);
    const bool requested = slot == nullptr || slot->cancel_requested;
    LWLockRelease(shared->lock);
    return requested;
}

/// Exit callback: whatever ends the worker, the job does not stay "running".
void abandon_job(int, Datum) {
    stop_engine(kExitGraceMs);
    if (decided != nullptr) finish_with(decided);
    if (cancel_requested(nullptr))
        finish_job(job_id, JobState::cancelled, exit_code(ErrorKind::cancelled), "cancelled", "");
    finish_job(job_id, JobState::failed, exit_code(ErrorKind::internal),
               last_error[0] != '\0' ? last_error : "job worker ended unexpectedly", "");
}

void set_counter(pg_atomic_uint64* counter, const char* key) {
    if (engine_field(key) != nullptr) pg_atomic_write_u64(counter, engine_field_number(key, 0));
}

int64 number_field(const char* key) {
    return static_cast<int64>(engine_field_number(key, 0));
}

void take_progress(JobSlot* slot) {
    if (engine_field("phase") != nullptr) enter_phase(slot, engine_field("phase"));
    set_counter(&slot->bytes_total, "bytes_total");
    set_counter(&slot->bytes_done, "bytes_done");
    set_counter(&slot->files_total, "files_total");
    set_counter(&slot->files_done, "files_done");
    if (engine_field("read_ms") == nullptr) return;
    slot->copying = {number_field("read_ms"),    number_field("compute_ms"),
                     number_field("store_ms"),   number_field("clock_ms"),
                     number_field("bytes_done"), number_field("stored_bytes")};
}

/// An engine of another release that has never given a sign will not give one.
bool gives_signs;

int64 sign_interval_ms() {
    return int64{1000} * settings.heartbeat_timeout_s;
}

/// The engine's own message that its work goes on; who only reports is not alive for that.
void take_sign(JobSlot* slot, const char* verb) {
    if (strcmp(verb, "alive") == 0) {
        gives_signs = true;
        beat(slot, sign_interval_ms());
    } else if (!gives_signs) {
        rest(slot);
    }
}

/// A backup's first statement waits for a checkpoint, and for the one under way before that. An
/// answer to one that only watches is no sign.
void look_after_statement(void*, bool begins) {
    static SteadyTime waited_from;
    LWLockAcquire(shared->lock, LW_SHARED);
    JobSlot* slot = find_job(job_id);
    if (slot != nullptr && begins)
        waited_from = wait_silently(slot, int64{2000} * CheckPointTimeout);
    else if (slot != nullptr)
        go_on(slot, waited_from);
    LWLockRelease(shared->lock);
}

/// This process itself goes on, and what it does next takes no longer.
void expect_within(int64 within_ms) {
    LWLockAcquire(shared->lock, LW_SHARED);
    if (JobSlot* slot = find_job(job_id)) beat(slot, within_ms);
    LWLockRelease(shared->lock);
}

/// The moment before a drop, if that was looked for.
void take_drop(JobSlot* slot) {
    if (engine_field("drop_lsn") == nullptr) return;
    constexpr int64 kEpoch = int64{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * USECS_PER_DAY;
    slot->dropped_at = number_field("drop_time_us") - kEpoch;
    slot->drop_xid = static_cast<uint32>(number_field("drop_xid"));
    strlcpy(slot->drop_lsn, engine_field("drop_lsn"), sizeof slot->drop_lsn);
}

/// The last phases count nothing: what stays in the record is the size of the whole.
void take_result(JobSlot* slot) {
    const char* label = engine_field("label");
    if (label != nullptr) strlcpy(slot->label, label, sizeof slot->label);
    set_counter(&slot->bytes_total, "size");
    set_counter(&slot->bytes_done, "size");
    set_counter(&slot->files_total, "files");
    set_counter(&slot->files_done, "files");
    take_drop(slot);
}

/// A text of the message at hand, "" if it has none.
const char* text_field(const char* key) {
    const char* text = engine_field(key);
    return text != nullptr ? text : "";
}

void take_finding() {
    const bool failed = strcmp(text_field("status"), "failure") == 0;
    const char* hint = text_field("hint");
    if (failed || settings.log_level >= kLogDetail)
        ereport(failed ? WARNING : LOG, (errmsg("chronos: %s: %s", text_field("test"),
                                                database_text(text_field("message"))),
                                         *hint != '\0' ? errhint("%s", database_text(hint)) : 0));
    if (!failed || report.failures++ > 0) return;
    clip_utf8(report.first, sizeof report.first,
              psprintf("%s: %s", text_field("test"), text_field("message")));
    clip_utf8(report.first_hint, sizeof report.first_hint, hint);
}

void take_status() {
    report.status = engine_field_number("status", 0);
    report.left_undone_code = static_cast<int>(engine_field_number("expire_code", 0));
    if (report.left_undone_code != 0)
        clip_utf8(report.left_undone, sizeof report.left_undone,
                  psprintf("expire failed: %s", text_field("expire_error")));
    clip_utf8(report.warning, sizeof report.warning, text_field("warning"));
    clip_utf8(report.skipped, sizeof report.skipped, text_field("skipped"));
    if (engine_field("report") != nullptr)
        report.tables = MemoryContextStrdup(TopMemoryContext, engine_field("report"));
}

void handle_message(void*, const char* verb) {
    if (strcmp(verb, "finding") == 0) take_finding();
    if (strcmp(verb, "done") == 0) take_status();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (JobSlot* slot = find_job(job_id)) {
        take_sign(slot, verb);
        if (strcmp(verb, "progress") == 0) take_progress(slot);
        if (strcmp(verb, "done") == 0) take_result(slot);
    }
    LWLockRelease(shared->lock);
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
}

/// False if the job has been cancelled before its worker was there.
bool claim_job(char* type, Size type_size) {
    bool claimed = false;
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    JobSlot* slot = find_job(job_id);
    if (slot != nullptr && slot->state == JobState::starting) {
        claimed = true;
        slot->state = JobState::running;
        slot->started_at = GetCurrentTimestamp();
        // A cancel has an effect from now on, whatever this process comes to wait for.
        slot->worker_pid = MyProcPid;
        slot->worker_latch = MyLatch;
        beat(slot, sign_interval_ms());
        strlcpy(type, slot->type, type_size);
    }
    LWLockRelease(shared->lock);
    if (claimed) ConditionVariableBroadcast(&shared->changed);
    return claimed;
}

/// From now on a cancel comes too late, and must not hit the record of the job in its place.
void close_to_cancel() {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (JobSlot* slot = find_job(job_id)) {
        slot->worker_pid = 0;
        slot->worker_latch = nullptr;
    }
    LWLockRelease(shared->lock);
    QueryCancelPending = false;
}

/// A relative directory for sockets is one of the data directory.
const char* absolute(const char* directory) {
    const bool is_relative = *directory != '/' && *directory != '@';
    return is_relative ? psprintf("%s/%s", DataDir, directory) : directory;
}

/// Where this server is found by a client on its machine, whatever the configuration file says.
void add_own_place(Arguments* arguments) {
    List* directories = NIL;
    char* text = pstrdup(Unix_socket_directories != nullptr ? Unix_socket_directories : "");
    if (SplitDirectoriesString(text, ',', &directories) && directories != NIL)
        add_argument(arguments,
                     psprintf("--pg1-socket-path=%s",
                              absolute(static_cast<const char*>(linitial(directories)))));
    add_argument(arguments, psprintf("--pg1-port=%d", PostPortNumber));
    // By which what a killed engine has left is found, and sessions that have not noticed.
    add_argument(arguments,
                 psprintf("--exec-id=%d-%08x", MyProcPid,
                          static_cast<uint32>(job_id ^ MyStartTimestamp / USECS_PER_SEC)));
}

void begin_job_arguments(Arguments* arguments, const JobType* type, const char* options) {
    if (type->in_session) {
        begin_arguments(arguments, "backup");
        if (RecoveryInProgress()) add_argument(arguments, "--backup-standby=y");
    } else {
        add_argument(arguments, "engine");
        add_argument(arguments, "job");
        add_argument(arguments, type->command);
        add_common_options(arguments);
        if (type->takes_pg_path) add_argument(arguments, psprintf("--pg1-path=%s", DataDir));
        if (type->at_home) add_own_place(arguments);
    }
    if (type->takes_process_max && strstr(options, "--process-max=") == nullptr)
        add_process_max(arguments);
    if (type->fixed_option != nullptr) add_argument(arguments, type->fixed_option);
}

/// `options` is taken apart.
void add_job_options(Arguments* arguments, char* options) {
    for (char* option = strtok(options, "\n"); option != nullptr; option = strtok(nullptr, "\n"))
        add_argument(arguments, option);
}

/// A command that has done its work may still have found that something is wrong.
void judge_findings(SessionResult* result, const JobType* type) {
    if (result->outcome != SessionOutcome::done) return;
    if (report.skipped[0] != '\0') {
        result->outcome = SessionOutcome::skipped;
        result->message = report.skipped;
        return;
    }
    if (report.status == 0) {
        result->code = report.left_undone_code;
        result->message = report.left_undone;
        return;
    }
    result->outcome = SessionOutcome::failed;
    result->code = static_cast<int>(report.status);
    result->hint = report.first_hint;
    if (report.failures > 1)
        result->message = psprintf("%d failures, the first one: %s", report.failures, report.first);
    else if (report.failures == 1)
        result->message = report.first;
    else
        result->message = psprintf("%s ended with exit code %llu", type->command, report.status);
}

/// What this server has to do with a run that the others have in their schedules as well.
const char* part_in_turn() {
    if (RecoveryInProgress() || settings.backup_role == kBackupAny) return "take";
    return settings.backup_role == kBackupStandby ? "follow" : "yield";
}

void add_turn(Arguments* arguments, const JobType* type, const JobSlot* job) {
    if (!type->in_session || job->schedule[0] == '\0' || settings.backup_role == kBackupPrimary)
        return;
    add_argument(arguments, psprintf("--turn=%s", job->schedule));
    add_argument(arguments, psprintf("--turn-due=%lld",
                                     static_cast<long long>(timestamptz_to_time_t(job->due_at))));
    add_argument(arguments, psprintf("--turn-attempt=%d", job->attempt));
    add_argument(arguments, psprintf("--turn-part=%s", part_in_turn()));
}

SessionResult run_command(const JobType* type, JobSlot* job) {
    Arguments arguments = {};
    begin_job_arguments(&arguments, type, job->options);
    add_turn(&arguments, type, job);
    add_job_options(&arguments, job->options);
    SessionPlan plan = {};
    plan.own_transactions = true;
    if (type->at_home) plan.cancel_grace_ms = kHomeGraceMs;
    plan.on_message = handle_message;
    plan.on_statement = look_after_statement;
    plan.cancelled = cancel_requested;
    SessionResult result = run_engine(&arguments, &plan);
    judge_findings(&result, type);
    // A success is whole, or says what it left out.
    if (result.outcome == SessionOutcome::done) result.hint = report.warning;
    return result;
}

/// Turns an error of this session into the outcome of the job.
SessionResult outcome_of_error(MemoryContext context) {
    MemoryContextSwitchTo(context);
    ErrorData* error = CopyErrorData();
    FlushErrorState();
    AbortCurrentTransaction();
    MemoryContextSwitchTo(context);
    SessionResult result = {SessionOutcome::failed, exit_code(ErrorKind::db_query),
                            utf8_text(error->message),
                            error->hint != nullptr ? utf8_text(error->hint) : ""};
    if (error->sqlerrcode == ERRCODE_QUERY_CANCELED) result.outcome = SessionOutcome::cancelled;
    return result;
}

void report_outcome(const SessionResult* result, const JobType* type) {
    const char* hint = result->hint;
    switch (result->outcome) {
        case SessionOutcome::done:
            ereport(LOG, (errmsg("chronos: %s has finished", type->title)));
            return;
        case SessionOutcome::cancelled:
            ereport(LOG, (errmsg("chronos: %s was cancelled", type->title)));
            return;
        case SessionOutcome::skipped:
            ereport(LOG, (errmsg("chronos: %s is not made here: %s", type->title,
                                 database_text(result->message))));
            return;
        case SessionOutcome::failed:
            ereport(WARNING,
                    (errmsg("chronos: %s failed: %s", type->title, database_text(result->message)),
                     *hint != '\0' ? errhint("%s", database_text(hint)) : 0));
            return;
    }
}

void enter(const char* phase) {
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (JobSlot* slot = find_job(job_id)) enter_phase(slot, phase);
    LWLockRelease(shared->lock);
}

/// pgBackRest's advisory lock, which the engine of a backup takes in the database of this session.
/// Such locks are of one database each: pgBackRest looks in "postgres", so it is held there too.
bool lock_default_database(const JobType* type) {
    constexpr uint64 kBackupLock = UINT64CONST(12340078987004321);
    if (!type->in_session) return true;
    StartTransactionCommand();
    const Oid database = get_database_oid("postgres", true);
    bool locked = true;
    if (OidIsValid(database) && database != MyDatabaseId) {
        LOCKTAG tag;
        SET_LOCKTAG_ADVISORY(tag, database, static_cast<uint32>(kBackupLock >> 32),
                             static_cast<uint32>(kBackupLock), 1);
        locked = LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
    }
    CommitTransactionCommand();
    return locked;
}

/// What an engine has left locked that was killed, too: the next job may begin before this process
/// has ended.
void unlock_all() {
    LockReleaseSession(USER_LOCKMETHOD);
}

/// What was written until now goes to the archive first: who asks for a table that was dropped or
/// changed a moment ago means that.
void send_wal() {
    constexpr int kLimitMs = 60000;
    if (!XLogArchivingActive()) return;
    char segment[MAXFNAMELEN];
    MemoryContext context = CurrentMemoryContext;
    enter("wal");
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    if (SPI_execute("SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_switch_wal())", false, 1) !=
            SPI_OK_SELECT ||
        SPI_processed != 1)
        elog(ERROR, "could not switch to another WAL segment");
    strlcpy(segment, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), sizeof segment);
    PopActiveSnapshot();
    SPI_finish();
    CommitTransactionCommand();
    MemoryContextSwitchTo(context);
    const SteadyTime begin = steady_now();
    while (XLogArchiveIsBusy(segment) && !cancel_requested(nullptr)) {
        if (has_passed(begin, kLimitMs)) {
            ereport(WARNING, (errmsg("chronos: WAL segment %s is not archived yet", segment)));
            return;
        }
        expect_within(sign_interval_ms());
        WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
                  wait_event(Wait::archive));
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
}

SessionResult run_locked(const JobType* type, JobSlot* job) {
    if (type->at_home) send_wal();
    if (lock_default_database(type)) return run_command(type, job);
    return SessionResult{SessionOutcome::failed, exit_code(ErrorKind::lock_acquire),
                         "unable to acquire pgBackRest advisory lock in database postgres",
                         "Is another backup of this cluster running, with other lock files or on"
                         " another host?"};
}

/// The start command, then the job. Raises what its session raises.
SessionResult run_to_outcome(const JobType* type, JobSlot* job) {
    if (settings.job_start_command != nullptr && *settings.job_start_command != '\0')
        enter("start-command");
    expect_within(int64{1000} * settings.job_command_timeout_s);
    SessionResult result = run_start_hook(job, cancel_requested);
    expect_within(sign_interval_ms());
    return result.outcome == SessionOutcome::done ? run_locked(type, job) : result;
}

/// With the outcome known, and before anybody who waits for the job learns of it.
void run_last_command(JobSlot* job, const SessionResult* result, MemoryContext context) {
    if (settings.job_end_command == nullptr || *settings.job_end_command == '\0') return;
    enter("end-command");
    expect_within(int64{1000} * settings.job_command_timeout_s);
    look_up_job(job_id, job);
    // A job that has been cancelled may still tell so; what is cancelled from now on is this.
    bool (*cancelled)(void*) = job->cancel_requested ? nullptr : cancel_requested;
    PG_TRY();
    { run_end_hook(job, result, cancelled); }
    PG_CATCH();
    {
        const SessionResult error = outcome_of_error(context);
        ereport(WARNING, (errmsg("chronos: job_end_command: %s", database_text(error.message))));
    }
    PG_END_TRY();
}

/// An engine that was killed has left what it made in this server.
void tidy_up(const JobType* type, JobSlot* job, const SessionResult* result,
             MemoryContext context) {
    const bool may_have_left = result->outcome == SessionOutcome::cancelled ||
                               (result->outcome == SessionOutcome::failed &&
                                result->code == exit_code(ErrorKind::internal));
    if (!type->at_home || !may_have_left || !look_up_job(job_id, job)) return;
    PG_TRY();
    {
        Arguments arguments = {};
        begin_job_arguments(&arguments, type, job->options);
        add_job_options(&arguments, job->options);
        add_argument(&arguments, "--only-tidy");
        SessionPlan plan = {};
        plan.own_transactions = true;
        const SessionResult tidied = run_engine(&arguments, &plan);
        if (tidied.outcome != SessionOutcome::done)
            ereport(WARNING, (errmsg("chronos: what %s has left is not removed: %s", type->title,
                                     database_text(tidied.message))));
    }
    PG_CATCH();
    {
        const SessionResult error = outcome_of_error(context);
        ereport(WARNING, (errmsg("chronos: what %s has left is not removed: %s", type->title,
                                 database_text(error.message))));
    }
    PG_END_TRY();
}

void run_job(const JobType* type) {
    MemoryContext context =
        AllocSetContextCreate(TopMemoryContext, "chronos job", ALLOCSET_DEFAULT_SIZES);
    MemoryContextSwitchTo(context);
    SessionResult* result = static_cast<SessionResult*>(palloc0(sizeof(SessionResult)));
    JobSlot* job = static_cast<JobSlot*>(palloc0(sizeof(JobSlot)));
    look_up_job(job_id, job);
    PG_TRY();
    {
        if (cancel_requested(nullptr))
            *result = {SessionOutcome::cancelled, exit_code(ErrorKind::cancelled), "cancelled", ""};
        else
            *result = run_to_outcome(type, job);
    }
    PG_CATCH();
    { *result = outcome_of_error(context); }
    PG_END_TRY();
    unlock_all();
    close_to_cancel();
    tidy_up(type, job, result, context);
    report_outcome(result, type);
    decided = result;
    // Before anybody who waits for the job learns of its end.
    if (result->outcome == SessionOutcome::done && report.tables != nullptr)
        record_recovered_tables(job_id, report.tables);
    run_last_command(job, result, context);
    finish_with(result);
}

}  // namespace
}  // namespace chronos::extension

extern "C" {
PGDLLEXPORT void chronos_job_main(Datum argument);

void chronos_job_main(Datum argument) {
    using namespace chronos::extension;
    char type[sizeof JobSlot::type];
    job_id = DatumGetInt64(argument);
    former_log_hook = emit_log_hook;
    emit_log_hook = remember_error;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    if (!claim_job(type, sizeof type)) proc_exit(0);
    before_shmem_exit(abandon_job, 0);
    connect_worker();
    record_started_job(job_id);
    run_job(find_job_type(type));
    record_finished_jobs();
    write_audit_log();
    proc_exit(0);
}
}
