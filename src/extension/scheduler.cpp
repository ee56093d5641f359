#include "chronos/base/not_taken.h"
#include "extension/audit.h"
#include "extension/heartbeat.h"
#include "extension/job_history.h"
#include "extension/job_options.h"
#include "extension/job_queue.h"
#include "extension/postgres_api.h"
#include "extension/schedule_time.h"
#include "extension/settings.h"
#include "extension/sql_version.h"
#include "extension/text.h"
#include "extension/worker_session.h"

/// The scheduler: a background worker that the launcher starts when a schedule is due or has
/// changed. It looks at every schedule once, queues what is due, says when it is to be started next
/// and ends. So no session stays in chronos.database, which may be dropped at any time.
///
/// What is due is decided by one column, considered_until: runs up to there have been dealt with.
/// Whatever comes between - a stop of the server, a promotion, a dump and its restore - the runs
/// that were missed are caught up by one.

namespace chronos::extension {
namespace {

/// Without a schedule too: somebody may have written to the table behind our back.
constexpr int64 kLongestSleepUs = USECS_PER_HOUR;
/// A clock that is corrected by so little has not been set: what ran a moment ago does not run
/// again.
constexpr int64 kClockSlackUs = USECS_PER_MINUTE;
/// A schedule that somebody is changing is looked at when they are done; and if that goes unseen.
constexpr int64 kLockedRetryUs = 60 * USECS_PER_SEC;

/// Not waiting for whoever changes one: this session must end soon.
constexpr const char* kRead =
    "SELECT name, type, cron, timezone, options, created_by, considered_until, retries, "
    "(extract(epoch FROM retry_delay) * 1000000)::bigint, last_due, last_job, last_requested_at, "
    "attempt FROM chronos.schedule_entries WHERE enabled ORDER BY name FOR UPDATE SKIP LOCKED";
/// A standby cannot lock, and its primary has done so where it matters.
constexpr const char* kReadOnStandby =
    "SELECT name, type, cron, timezone, options, created_by, considered_until, retries, "
    "(extract(epoch FROM retry_delay) * 1000000)::bigint, last_due, last_job, last_requested_at, "
    "attempt FROM chronos.schedule_entries WHERE enabled ORDER BY name";
/// What the primary writes comes to a standby without a sign.
constexpr int64 kStandbyLookUs = 30 * USECS_PER_SEC;
/// A run that the primary has asked for is not open any more where its record is not even in the
/// history.
constexpr int64 kForgottenUs = USECS_PER_DAY;
constexpr const char* kCount = "SELECT count(*) FROM chronos.schedule_entries WHERE enabled";
constexpr const char* kConsidered =
    "UPDATE chronos.schedule_entries SET considered_until = $2, last_due = $3, last_job = $4, "
    "last_requested_at = $5, attempt = $6 WHERE name = $1";
constexpr const char* kReconsider =
    "UPDATE chronos.schedule_entries SET considered_until = $2 WHERE name = $1";
constexpr const char* kOutcome =
    "SELECT state, finished_at, error FROM chronos.job_history WHERE id = $1 AND requested_at = $2";

struct Entry {
    const char* name;
    const JobType* type;
    const char* cron;
    pg_tz* zone;
    char* options;
    const char* created_by;
    bool may_run;     ///< its maker may ask for what it does
    Refusal refusal;  ///< why not
    TimestampTz considered_until;
    int retries;
    int64 retry_delay_us;
    TimestampTz last_due;
    JobIdentity last_job;
    int attempt;
    /// What is to be done now; 0: nothing.
    TimestampTz due_at;
    bool due_again;
    /// When there is something to do next, by schedule_now().
    TimestampTz next;
};

struct Evaluation {
    Entry* entries;
    int count;
    TimestampTz now;
    TimestampTz next;
    int64 first_job;  ///< of those that it has queued; 0: none yet
    StringInfoData unusable;
};

TimestampTz earlier(TimestampTz a, TimestampTz b) {
    return a < b ? a : b;
}

Datum column(HeapTuple row, int number, bool* is_null) {
    return SPI_getbinval(row, SPI_tuptable->tupdesc, number, is_null);
}

char* text_column(HeapTuple row, int number) {
    char* text = SPI_getvalue(row, SPI_tuptable->tupdesc, number);
    return text != nullptr ? text : pstrdup("");
}

int64 number_column(HeapTuple row, int number) {
    bool is_null = true;
    const Datum value = column(row, number, &is_null);
    return is_null ? 0 : DatumGetInt64(value);
}

int int_column(HeapTuple row, int number) {
    bool is_null = true;
    const Datum value = column(row, number, &is_null);
    return is_null ? 0 : DatumGetInt32(value);
}

char* option_lines(HeapTuple row, int number, const JobType* type) {
    StringInfoData lines;
    initStringInfo(&lines);
    bool is_null = true;
    const Datum value = column(row, number, &is_null);
    if (!is_null) append_options(&lines, type, DatumGetJsonbP(value));
    require_options_fit(&lines, "options");
    return lines.data;
}

void read_entry(HeapTuple row, Entry* entry) {
    entry->name = text_column(row, 1);
    entry->type = find_startable_type(text_column(row, 2));
    entry->cron = text_column(row, 3);
    entry->zone = schedule_zone(text_column(row, 4));
    const char* problem = schedule_problem(text_column(row, 2), entry->cron, text_column(row, 4));
    if (problem != nullptr)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", problem)));
    entry->options = option_lines(row, 5, entry->type);
    entry->created_by = text_column(row, 6);
    bool is_null = true;
    const Datum options = column(row, 5, &is_null);
    entry->may_run = is_null || still_permitted(entry->type, DatumGetJsonbP(options),
                                                entry->created_by, &entry->refusal);
    entry->considered_until = number_column(row, 7);
    entry->retries = int_column(row, 8);
    entry->retry_delay_us = number_column(row, 9);
    entry->last_due = number_column(row, 10);
    entry->last_job = {number_column(row, 11), number_column(row, 12)};
    entry->attempt = int_column(row, 13);
}

/// What another release or a hand has left in the table must not stop the other schedules.
bool try_to_read_entry(HeapTuple row, Entry* entry, StringInfo unusable) {
    MemoryContext context = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;
    volatile bool good = true;
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(context);
    PG_TRY();
    {
        read_entry(row, entry);
        ReleaseCurrentSubTransaction();
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        ErrorData* error = CopyErrorData();
        FlushErrorState();
        RollbackAndReleaseCurrentSubTransaction();
        const char* name = text_column(row, 1);
        // A standby looks twice a minute, and its primary tells.
        ereport(RecoveryInProgress() ? DEBUG1 : WARNING,
                (errmsg("chronos: schedule \"%s\" cannot be used: %s", log_text(name),
                        log_text(error->message))));
        appendStringInfo(unusable, "%sschedule \"%s\" cannot be used: %s",
                         unusable->len > 0 ? "; " : "", name, error->message);
        good = false;
    }
    PG_END_TRY();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    return good;
}

/// False if some schedule is being changed by somebody else.
bool read_entries(Evaluation* evaluation) {
    SPI_execute(RecoveryInProgress() ? kReadOnStandby : kRead, false, 0);
    SPITupleTable* rows = SPI_tuptable;
    const int count = static_cast<int>(SPI_processed);
    evaluation->entries = static_cast<Entry*>(palloc0(sizeof(Entry) * (count + 1)));
    evaluation->count = 0;
    for (int i = 0; i < count; ++i)
        if (try_to_read_entry(rows->vals[i], &evaluation->entries[evaluation->count],
                              &evaluation->unusable))
            ++evaluation->count;
    SPI_execute(kCount, true, 1);
    return number_column(SPI_tuptable->vals[0], 1) == count;
}

/// Where the last job of a schedule has got to. Lost: the server has stopped before it was
/// finished, or before it began and was written into the history.
enum class Outcome { none, under_way, failed, lost, settled };

Outcome outcome_in_history(const Entry* entry, TimestampTz* finished_at) {
    Oid types[] = {INT8OID, TIMESTAMPTZOID};
    Datum values[] = {Int64GetDatum(entry->last_job.id),
                      TimestampTzGetDatum(entry->last_job.requested_at)};
    // Not read-only: that would not see what record_lost_jobs() has just written.
    SPI_execute_with_args(kOutcome, 2, types, values, nullptr, false, 1);
    if (SPI_processed == 0) return Outcome::lost;
    const char* state = text_column(SPI_tuptable->vals[0], 1);
    *finished_at = number_column(SPI_tuptable->vals[0], 2);
    const char* error = text_column(SPI_tuptable->vals[0], 3);
    if (strcmp(state, "failed") != 0) return Outcome::settled;
    return strcmp(error, CHRONOS_LOST_JOB) == 0 ? Outcome::lost : Outcome::failed;
}

Outcome last_outcome(const Entry* entry, TimestampTz* finished_at) {
    if (entry->last_job.id == 0) return Outcome::none;
    Outcome outcome = Outcome::lost;
    LWLockAcquire(shared->lock, LW_SHARED);
    const JobSlot* slot = find_job(entry->last_job.id);
    if (slot != nullptr && slot->requested_at == entry->last_job.requested_at) {
        *finished_at = slot->finished_at;
        outcome = !is_finished(slot->state)         ? Outcome::under_way
                  : slot->state == JobState::failed ? Outcome::failed
                                                    : Outcome::settled;
    }
    LWLockRelease(shared->lock);
    return outcome != Outcome::lost ? outcome : outcome_in_history(entry, finished_at);
}

/// The run after a failed one, if the schedule wants one. One that was lost with the server is made
/// up for in any case.
void consider_retry(Entry* entry, TimestampTz now) {
    TimestampTz finished_at = 0;
    const Outcome outcome = last_outcome(entry, &finished_at);
    const int allowed = entry->retries + (outcome == Outcome::lost ? 1 : 0);
    if ((outcome != Outcome::failed && outcome != Outcome::lost) || entry->attempt > allowed)
        return;
    // Times of jobs are those of the server, also where a test sets the clock of schedules. One
    // that lies ahead was taken from a clock that has been set back since.
    const int64 since = GetCurrentTimestamp() - finished_at;
    const bool no_wait = outcome == Outcome::lost || since < -kClockSlackUs;
    const int64 left = no_wait ? 0 : entry->retry_delay_us - since;
    if (left > 0) {
        entry->next = earlier(entry->next, now + left);
        return;
    }
    entry->due_at = entry->last_due;
    entry->due_again = true;
}

/// A clock that was ahead and has been set back, or a dump from the future, must not stop the
/// schedule until the clock has caught up. On record, so that what comes due next is due.
void reconsider(Entry* entry, TimestampTz now) {
    if (entry->considered_until <= now + kClockSlackUs) return;
    entry->considered_until = now;
    Oid types[] = {TEXTOID, TIMESTAMPTZOID};
    Datum values[] = {CStringGetTextDatum(entry->name), TimestampTzGetDatum(now)};
    SPI_execute_with_args(kReconsider, 2, types, values, nullptr, false, 0);
}

/// Of this server since it was started; all 0: nothing.
ScheduleOnStandby dealt_with_here(const char* name) {
    ScheduleOnStandby dealt = {};
    const char* text = utf8_text(name);
    LWLockAcquire(shared->lock, LW_SHARED);
    for (const ScheduleOnStandby& known : shared->on_standby)
        if (strncmp(known.name, text, sizeof known.name - 1) == 0) dealt = known;
    LWLockRelease(shared->lock);
    return dealt;
}

/// In place of what is not known, or of what was due longest ago: that would be asked for in the
/// repository once more.
void deal_with_here(const Entry* entry) {
    const char* name = utf8_text(entry->name);
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    ScheduleOnStandby* place = &shared->on_standby[0];
    for (ScheduleOnStandby& known : shared->on_standby) {
        if (strncmp(known.name, name, sizeof known.name - 1) == 0) {
            place = &known;
            break;
        }
        if (known.due < place->due) place = &known;
    }
    strlcpy(place->name, name, sizeof place->name);
    place->due = entry->due_at;
    place->attempt = entry->attempt;
    LWLockRelease(shared->lock);
}

/// Whether the primary knows what has become of the run that it has asked for last.
bool settled_by_primary(const Entry* entry, TimestampTz now) {
    Oid types[] = {INT8OID, TIMESTAMPTZOID};
    Datum values[] = {Int64GetDatum(entry->last_job.id),
                      TimestampTzGetDatum(entry->last_job.requested_at)};
    SPI_execute_with_args(kOutcome, 2, types, values, nullptr, true, 1);
    if (SPI_processed == 0) return entry->last_due < now - kForgottenUs;
    const HeapTuple row = SPI_tuptable->vals[0];
    const bool has_finished = number_column(row, 2) != 0;
    const char* error = text_column(row, 3);
    const bool open =
        strcmp(error, CHRONOS_LOST_JOB) == 0 || strncmp(error, kNotTaken, strlen(kNotTaken)) == 0;
    return has_finished && (strcmp(text_column(row, 1), "failed") != 0 || !open);
}

/// On a standby. What is due is what is due on the primary, under the same name, by what of its
/// table has come here: what it has asked for already, or is about to. Whose turn it is is found
/// out by the job. Retries are those of the primary.
void consider_on_standby(Entry* entry, TimestampTz now) {
    entry->next = now + kStandbyLookUs;
    if (!entry->type->in_session) return;
    const ScheduleOnStandby dealt = dealt_with_here(entry->name);
    const bool news = entry->last_due > dealt.due ||
                      (entry->last_due == dealt.due && entry->attempt > dealt.attempt);
    if (entry->last_due != 0 && news && !settled_by_primary(entry, now)) {
        entry->due_at = entry->last_due;
        return;
    }
    const TimestampTz from = Max(entry->considered_until, dealt.due);
    const TimestampTz due = next_run_after(entry->cron, entry->zone, from);
    if (due <= now) {
        entry->due_at = due;
        entry->attempt = 1;
    } else {
        entry->next = earlier(entry->next, due);
    }
}

void consider(Entry* entry, TimestampTz now) {
    if (RecoveryInProgress()) return consider_on_standby(entry, now);
    reconsider(entry, now);
    const TimestampTz due = next_run_after(entry->cron, entry->zone, entry->considered_until);
    entry->next = due > now ? due : next_run_after(entry->cron, entry->zone, now);
    if (due <= now)
        entry->due_at = due;
    else
        consider_retry(entry, now);
}

/// The `--repo=` line of options, "" if there is none.
const char* repository_of(const char* options) {
    const char* line = strstr(options, "--repo=");
    return line == nullptr ? "" : pnstrdup(line, strcspn(line, "\n"));
}

/// True if the job does all that the schedule wants: backups of one repository cover each other,
/// all else has to be the very same. One that was queued with it may have ended by now.
bool covers(const JobSlot* job, const Entry* entry, int64 first_job) {
    const bool just_ended =
        job->state == JobState::succeeded && first_job != 0 && job->id >= first_job;
    if (job->state == JobState::free || (is_finished(job->state) && !just_ended)) return false;
    // A backup of the standby that this server was ends with its promotion.
    if (job->of_standby != RecoveryInProgress()) return false;
    const JobType* type = find_job_type(job->type);
    if (type == nullptr || !job_type_covers(type, entry->type)) return false;
    return type->in_session
               ? strcmp(repository_of(job->options), repository_of(entry->options)) == 0
               : strcmp(job->options, entry->options) == 0;
}

/// Why the run is not needed; nullptr if it is.
const char* skip_reason(const Entry* entry, int64 first_job) {
    JobSlot* jobs = static_cast<JobSlot*>(palloc(sizeof shared->slots));
    LWLockAcquire(shared->lock, LW_SHARED);
    memcpy(static_cast<void*>(jobs), shared->slots, sizeof shared->slots);
    LWLockRelease(shared->lock);
    const char* reason = nullptr;
    for (int i = 0; i < kJobSlots && reason == nullptr; ++i)
        if (covers(&jobs[i], entry, first_job))
            reason = psprintf("covered by %s, job %lld", jobs[i].type,
                              static_cast<long long>(jobs[i].id));
    pfree(jobs);
    return reason;
}

void note(const Entry* entry, TimestampTz now, const JobIdentity* job) {
    Oid types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT4OID};
    Datum values[] = {CStringGetTextDatum(entry->name),       TimestampTzGetDatum(now),
                      TimestampTzGetDatum(entry->due_at),     Int64GetDatum(job->id),
                      TimestampTzGetDatum(job->requested_at), Int32GetDatum(entry->attempt)};
    SPI_execute_with_args(kConsidered, 6, types, values, nullptr, false, 0);
}

void run(Entry* entry, Evaluation* evaluation) {
    const bool standby = RecoveryInProgress();
    if (!standby) entry->attempt = entry->due_again ? entry->attempt + 1 : 1;
    JobRequest request = {};
    request.type = entry->type;
    request.options = utf8_text(entry->options);
    request.requested_by = utf8_text(entry->created_by);
    request.requested_from = "";
    request.schedule = utf8_text(entry->name);
    request.due_at = entry->due_at;
    request.attempt = entry->attempt;
    // The primary says why not.
    if (standby && !entry->may_run) return deal_with_here(entry);
    if (entry->may_run) {
        request.skip_reason = skip_reason(entry, evaluation->first_job);
    } else {
        request.refusal =
            utf8_text(psprintf("role \"%s\", who made the schedule, is not permitted %s",
                               entry->created_by, entry->refusal.what));
        request.hint = entry->refusal.hint;
    }
    const JobIdentity job = queue_job(&request);
    if (evaluation->first_job == 0 && entry->may_run) evaluation->first_job = job.id;
    ereport(LOG,
            (errmsg("chronos: schedule \"%s\": %s %s", log_text(entry->name), entry->type->title,
                    request.refusal != nullptr       ? log_text(request.refusal)
                    : request.skip_reason != nullptr ? request.skip_reason
                                                     : "is due")));
    if (standby)
        deal_with_here(entry);
    else
        note(entry, evaluation->now, &job);
}

/// The stronger backup first, so that it covers the others that are due with it.
int by_strength(const void* a, const void* b) {
    const Entry* left = static_cast<const Entry*>(a);
    const Entry* right = static_cast<const Entry*>(b);
    if (left->type != right->type) return left->type < right->type ? -1 : 1;
    return strcmp(left->name, right->name);
}

/// No schedule stands still without being told of.
void note_unusable(const char* schedules) {
    char text[sizeof shared->unusable_schedules];
    copy_clipped(text, sizeof text, schedules);
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    if (*shared->unusable_schedules == '\0') shared->unusable_since = steady_now();
    strlcpy(shared->unusable_schedules, text, sizeof shared->unusable_schedules);
    LWLockRelease(shared->lock);
}

void evaluate_entries(Evaluation* evaluation) {
    initStringInfo(&evaluation->unusable);
    const bool all = read_entries(evaluation);
    note_unusable(evaluation->unusable.data);
    // After the rows: a test sets the clock back first and makes its schedules then.
    evaluation->now = schedule_now();
    evaluation->next = evaluation->now + kLongestSleepUs;
    if (!all) evaluation->next = earlier(evaluation->next, evaluation->now + kLockedRetryUs);
    for (int i = 0; i < evaluation->count; ++i) {
        consider(&evaluation->entries[i], evaluation->now);
        evaluation->next = earlier(evaluation->next, evaluation->entries[i].next);
    }
    qsort(evaluation->entries, static_cast<size_t>(evaluation->count), sizeof(Entry), by_strength);
    for (int i = 0; i < evaluation->count; ++i)
        if (evaluation->entries[i].due_at != 0) run(&evaluation->entries[i], evaluation);
}

/// Returns when to be started again.
TimestampTz evaluate() {
    Evaluation evaluation = {};
    evaluation.now = schedule_now();
    evaluation.next = evaluation.now + kLongestSleepUs;
    if (begin_record("schedule_entries")) {
        if (!RecoveryInProgress()) {
            tell_of_sql_version();
            record_lost_jobs();
        }
        evaluate_entries(&evaluation);
    }
    commit_record();
    return evaluation.next;
}

}  // namespace
}  // namespace chronos::extension

extern "C" {
PGDLLEXPORT void chronos_scheduler_main(Datum argument);

void chronos_scheduler_main(Datum) {
    using namespace chronos::extension;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    connect_worker();
    const TimestampTz next = evaluate();
    LWLockAcquire(shared->lock, LW_EXCLUSIVE);
    shared->check_schedules_at = next;
    shared->check_schedules_by = steady_now() + Max(0, next - schedule_now());
    shared->scheduler_failures = 0;
    LWLockRelease(shared->lock);
    beat_and_rest(Subject::scheduler);
    record_finished_jobs();
    write_audit_log();
    proc_exit(0);
}
}
