#include "extension/heartbeat.h"

#include "extension/settings.h"
#include "extension/shared_state.h"

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
};

Heartbeat* of(Subject subject) {
    return &shared->heartbeats[static_cast<int>(subject)];
}

const Name& name_of(Subject subject) {
    return kSubjectNames[static_cast<int>(subject)];
}

SteadyTime read_time(pg_atomic_uint64* time) {
    return static_cast<SteadyTime>(pg_atomic_read_u64(time));
}

void write_time(pg_atomic_uint64* time, SteadyTime value) {
    pg_atomic_write_u64(time, static_cast<uint64>(value));
}

/// A standby plans, checks and streams nothing.
bool works_here(Subject subject) {
    if (!RecoveryInProgress()) return true;
    return subject == Subject::launcher || subject == Subject::serve ||
           (subject == Subject::archiver && XLogArchivingAlways());
}

Datum interval_of(int64 us) {
    Interval* interval = static_cast<Interval*>(palloc0(sizeof(Interval)));
    interval->time = us;
    return IntervalPGetDatum(interval);
}

void put_row(ReturnSetInfo* rows, Subject subject) {
    const SteadyTime seen = read_time(&of(subject)->seen_at);
    const bool owes = works_here(subject) && read_time(&of(subject)->due_at) != 0;
    const int64 late = overdue_us(subject);
    Datum values[5] = {};
    bool nulls[5] = {};
    values[0] = CStringGetTextDatum(name_of(subject).subject);
    values[1] = CStringGetTextDatum(late > 0 ? "late" : owes ? "ok" : "idle");
    nulls[2] = seen == 0;
    if (seen != 0) values[2] = interval_of(Max(0, steady_now() - seen));
    nulls[3] = nulls[4] = late == 0;
    if (late > 0) {
        values[3] = interval_of(late);
        values[4] = CStringGetTextDatum(name_of(subject).consequence);
    }
    tuplestore_putvalues(rows->setResult, rows->setDesc, values, nulls);
}

}  // namespace

void init_heartbeats(Heartbeat* heartbeats) {
    for (int i = 0; i < kSubjects; ++i) {
        pg_atomic_init_u64(&heartbeats[i].seen_at, 0);
        pg_atomic_init_u64(&heartbeats[i].due_at, 0);
    }
    // Whatever keeps it from ever starting is told too.
    const SteadyTime soon = steady_now() + 10 * USECS_PER_SEC;
    write_time(&heartbeats[static_cast<int>(Subject::launcher)].due_at, soon);
}

void beat(Subject subject, int64 within_ms) {
    if (shared == nullptr) return;
    const SteadyTime now = steady_now();
    write_time(&of(subject)->due_at, now + 1000 * within_ms);
    write_time(&of(subject)->seen_at, now);
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
    const SteadyTime due = read_time(&of(subject)->due_at);
    if (due == 0 || !works_here(subject)) return 0;
    const int64 late = steady_now() - due;
    return late > settings.heartbeat_timeout_s * USECS_PER_SEC ? late : 0;
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
    for (int i = 0; i < kSubjects; ++i)
        put_row(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), static_cast<Subject>(i));
    return 0;
}
