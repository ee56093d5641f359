#pragma once

#include "extension/postgres_api.h"
#include "extension/steady_time.h"

namespace chronos::extension {

/// What has to happen again and again, so that its standing still has to be told - by somebody
/// else. The names are those of kSubjectNames in heartbeat.cpp. `job` stands for all that run:
/// their signs are in their slots.
enum class Subject : int { launcher, scheduler, health, archiver, stream, audit, serve, job };
inline constexpr int kSubjects = 8;

struct JobSlot;

/// The last sign of a subject and when the next is due. Part of SharedState; atomic, so that the
/// archiver and exit paths need no lock.
struct Heartbeat {
    pg_atomic_uint64 seen_at;  ///< a SteadyTime; 0: not since the server was started
    pg_atomic_uint64 due_at;   ///< a SteadyTime; 0: nothing is owed
};

void init_heartbeats(Heartbeat* heartbeats);
void init_heartbeat(Heartbeat* heartbeat);

/// A sign of life. The next is due within that time.
void beat(Subject subject, int64 within_ms);
/// A sign of life, and nothing is owed until somebody expects something.
void beat_and_rest(Subject subject);
/// Nothing is owed: what the subject is there for is switched off, or there is nothing to do.
void rest(Subject subject);
/// There is something to do: a sign is due within that time, unless one is due already.
void expect(Subject subject, int64 within_ms);

/// How often somebody who waits has to give a sign, so that nobody misses one.
long heartbeat_pause_ms();

/// For how long the sign has been missing, in microseconds, beyond chronos.heartbeat_timeout; 0 if
/// all is well.
int64 overdue_us(Subject subject);

/// The same of a job; of those in slots that nobody else uses, or under the lock.
void beat(JobSlot* job, int64 within_ms);
void rest(JobSlot* job);
/// While it waits for something that gives no signs, for `within_ms` at most: what was due is due
/// by so much later as go_on() comes later. 0 if nothing is owed.
SteadyTime wait_silently(JobSlot* job, int64 within_ms);
void go_on(JobSlot* job, SteadyTime waited_from);
int64 overdue_us(const JobSlot* job);
/// Whoever looks after jobs: tells the server log of those that stand still.
void tell_of_still_jobs();

/// Writes to the server log that the subject stands still, and that it does not any more: once
/// each in a process.
void tell_of_stillness(Subject subject);

}  // namespace chronos::extension
