#include "extension/heartbeat.h"

#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/text.h"

namespace chronos::extension {
namespace {

struct Name {
    const char* subject;
    const char* consequence;  ///< of its standing still
};
constexpr Name kSubjectNames[kSubjects] = {
    {"launcher", "no job, schedule or health check is started"},
    {"scheduler", "schedules are not looked at"},
    {"health", "health is not checked, and no alert is sent"},
    {"archiver", "WAL that is ready is not archived"},
    {"stream", "WAL is not streamed"},
    {"audit", "calls wait to be written into chronos.audit_log"},
    {"serve", "the process that keeps the dashboard running does not answer"},
    {"job", "a job makes no progress"},
};

Heartbeat* of(Subject subject) {
    return &shared->heartbeats[static_cast<int>(subject)];
}

const Name& name_of(Subject subject) {
    return kSubjectNames[static_cast<int>(subject)];
}

SteadyTime read_time(const pg_atomic_uint64* time) {
    return static_cast<SteadyTime>(pg_atomic_read_u64(const_cast<pg_atomic_uint64*>(time)));
}

void write_time(pg_atomic_uint64* time, SteadyTime value) {
    pg_atomic_write_u64(time, static_cast<uint64>(value));
}

void sign(Heartbeat* heartbeat, int64 within_ms) {
    const SteadyTime now = steady_now();
    write_time(&heartbeat->due_at, now + 1000 * within_ms);
    write_time(&heartbeat->seen_at, now);
}

/// A standby checks and streams nothing, and is not backed up unless that is said.
bool works_here(Subject subject) {
    if (!RecoveryInProgress()) return true;
    if (subject == Subject::scheduler || subject == Subject::job)
        return settings.backup_role != kBackupPrimary;
    return subject == Subject::launcher || subject == Subject::serve ||
           (subject == Subject::archiver && XLogArchivingAlways());
}

int64 late_by_us(SteadyTime due) {
    const int64 late = due == 0 ? 0 : steady_now() - due;
    return late > settings.heartbeat_timeout_s * USECS_PER_SEC ? late : 0;
}

/// What jobs owe, all together.
struct Jobs {
    bool owe;
    SteadyTime seen;  ///< the last sign of the one that has been silent for longest; 0: none
    int64 late_us;    ///< of the latest
    char late[256];   ///< which ones
};

void add_job(Jobs* jobs, const JobSlot* job) {
    const SteadyTime seen = read_time(&job->sign.seen_at);
    if (seen != 0 && (jobs->seen == 0 || seen < jobs->seen)) jobs->seen = seen;
    jobs->owe = true;
    const int64 late = overdue_us(job);
    if (late == 0) return;
    jobs->late_us = Max(jobs->late_us, late);
    const Size length = strlen(jobs->late);
    snprintf(jobs->late + length, sizeof jobs->late - length, "%sjob %lld (%s%s%s)",
             length > 0 ? ", " : "", static_cast<long long>(job->id), job->type,
             job->phase[0] != '\0' ? ", phase " : "", job->phase);
}

Jobs look_at_jobs() {
    Jobs jobs = {};
    LWLockAcquire(shared->lock, LW_SHARED);
    for (const JobSlot& slot : shared->slots)
        if (slot.state == JobState::running) add_job(&jobs, &slot);
    LWLockRelease(shared->lock);
    return jobs;
}

Datum interval_of(int64 us) {
    Interval* interval = static_cast<Interval*>(palloc0(sizeof(Interval)));
    interval->time = us;
    return IntervalPGetDatum(interval);
}

struct Row {
    Subject subject;
    SteadyTime seen;
    bool owes;
    int64 late;
    const char* message;
};

Row row_of(Subject subject) {
    return {subject, read_time(&of(subject)->seen_at),
            works_here(subject) && read_time(&of(subject)->due_at) != 0, overdue_us(subject),
            name_of(subject).consequence};
}

/// It goes on, but not with all that it is there for.
Row row_of_scheduler() {
    Row row = row_of(Subject::scheduler);
    char unusable[sizeof shared->unusable_schedules];
    LWLockAcquire(shared->lock, LW_SHARED);
    strlcpy(unusable, shared->unusable_schedules, sizeof unusable);
    const SteadyTime since = shared->unusable_since;
    LWLockRelease(shared->lock);
    if (row.late > 0 || unusable[0] == '\0' || !works_here(Subject::scheduler)) return row;
    row.late = Max(1, steady_now() - since);
    row.message = database_text(unusable);
    return row;
}

Row row_of_jobs() {
    const Jobs jobs = look_at_jobs();
    return {Subject::job, jobs.seen, jobs.owe, jobs.late_us,
            psprintf("no progress of %s; chronos.cancel() ends it", jobs.late)};
}

Row row_of_any(Subject subject) {
    if (subject == Subject::job) return row_of_jobs();
    return subject == Subject::scheduler ? row_of_scheduler() : row_of(subject);
}

void put_row(ReturnSetInfo* rows, const Row& row) {
    const auto [subject, seen, owes, late, message] = row;
    Datum values[5] = {};
    bool nulls[5] = {};
    values[0] = CStringGetTextDatum(name_of(subject).subject);
    values[1] = CStringGetTextDatum(late > 0 ? "late" : owes ? "ok" : "idle");
    nulls[2] = seen == 0;
    if (seen != 0) values[2] = interval_of(Max(0, steady_now() - seen));
    nulls[3] = nulls[4] = late == 0;
    if (late > 0) {
        values[3] = interval_of(late);
        values[4] = CStringGetTextDatum(message);
    }
    tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}

}  // namespace

void init_heartbeat(Heartbeat* heartbeat) {
    pg_atomic_init_u64(&heartbeat->seen_at, 0);
    pg_atomic_init_u64(&heartbeat->due_at, 0);
}

void init_heartbeats(Heartbeat* heartbeats) {
    for (int i = 0; i < kSubjects; ++i) init_heartbeat(&heartbeats[i]);
    // Whatever keeps it from ever starting is told too.
    const SteadyTime soon = steady_now() + 10 * USECS_PER_SEC;
    write_time(&heartbeats[static_cast<int>(Subject::launcher)].due_at, soon);
}

void beat(Subject subject, int64 within_ms) {
    if (shared != nullptr) sign(of(subject), within_ms);
}

void beat_and_rest(Subject subject) {
    if (shared == nullptr) return;
    write_time(&of(subject)->due_at, 0);
    write_time(&of(subject)->seen_at, steady_now());
}

void rest(Subject subject) {
    write_time(&of(subject)->due_at, 0);
}

void expect(Subject subject, int64 within_ms) {
    uint64 nothing = 0;
    pg_atomic_compare_exchange_u64(&of(subject)->due_at, &nothing,
                                   static_cast<uint64>(steady_now() + 1000 * within_ms));
}

long heartbeat_pause_ms() {
    return Min(20000L, 1000L * settings.heartbeat_timeout_s / 3);
}

int64 overdue_us(Subject subject) {
    return works_here(subject) ? late_by_us(read_time(&of(subject)->due_at)) : 0;
}

void beat(JobSlot* job, int64 within_ms) {
    sign(&job->sign, within_ms);
}

void rest(JobSlot* job) {
    write_time(&job->sign.due_at, 0);
}

SteadyTime wait_silently(JobSlot* job, int64 within_ms) {
    const SteadyTime due = read_time(&job->sign.due_at);
    if (due == 0) return 0;
    const SteadyTime now = steady_now();
    job->sign_was_due = due;
    write_time(&job->sign.due_at, Max(due, now + 1000 * within_ms));
    return now;
}

void go_on(JobSlot* job, SteadyTime waited_from) {
    if (waited_from == 0) return;
    write_time(&job->sign.due_at, job->sign_was_due + (steady_now() - waited_from));
}

int64 overdue_us(const JobSlot* job) {
    if (job->state != JobState::running) return 0;
    return late_by_us(read_time(&job->sign.due_at));
}

void tell_of_still_jobs() {
    static int64 told[kJobSlots];
    for (int i = 0; i < kJobSlots; ++i) {
        LWLockAcquire(shared->lock, LW_SHARED);
        const JobSlot job = shared->slots[i];
        LWLockRelease(shared->lock);
        const int64 late = overdue_us(&job);
        const bool was_told = told[i] == job.id && job.id != 0;
        if ((late > 0) == was_told) continue;
        told[i] = late > 0 ? job.id : 0;
        if (late > 0)
            ereport(WARNING,
                    (errmsg("chronos: job %lld (%s) stands still: a sign of it has been due for "
                            "%lld s",
                            static_cast<long long>(job.id), job.type,
                            static_cast<long long>(late / USECS_PER_SEC)),
                     errdetail("Its phase is \"%s\".", job.phase),
                     errhint("Look at its engine's process and at the storage that it reads or "
                             "writes; SELECT chronos.cancel(%lld) ends it.",
                             static_cast<long long>(job.id))));
        else if (job.state == JobState::running)
            ereport(LOG, (errmsg("chronos: job %lld (%s) goes on", static_cast<long long>(job.id),
                                 job.type)));
    }
}

void tell_of_stillness(Subject subject) {
    static bool told[kSubjects];
    bool* was_told = &told[static_cast<int>(subject)];
    const int64 late = overdue_us(subject);
    if ((late > 0) == *was_told) return;
    *was_told = late > 0;
    const Name& name = name_of(subject);
    if (late > 0)
        ereport(
            WARNING,
            (errmsg("chronos: %s stands still: a sign of it has been due for %lld s", name.subject,
                    static_cast<long long>(late / USECS_PER_SEC)),
             errdetail("Meanwhile %s.", name.consequence),
             errhint("Look for an earlier message of it here, and at what its process waits for "
                     "in pg_stat_activity; chronos.heartbeats shows all of them.")));
    else
        ereport(LOG, (errmsg("chronos: %s goes on", name.subject)));
}

}  // namespace chronos::extension

CHRONOS_FUNCTION(chronos_heartbeats) {
    using namespace chronos::extension;
    require_preloaded();
    InitMaterializedSRF(fcinfo, 0);
    ReturnSetInfo* rows = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    for (int i = 0; i < kSubjects; ++i) {
        put_row(rows, row_of_any(static_cast<Subject>(i)));
    }
    return 0;
}
