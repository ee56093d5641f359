#pragma once

#include "extension/postgres_api.h"
#include "extension/steady_time.h"

namespace chronos::extension {

/// What somebody asked for and how that ended: a row of chronos.audit_log. Plain data, for shared
/// memory, so its text is UTF-8 (text.h).
struct AuditEntry {
    TimestampTz started_at;
    TimestampTz finished_at;
    char operation[NAMEDATALEN];
    char arguments[4096];  ///< a JSON object
    char requested_by[NAMEDATALEN];
    char role[NAMEDATALEN];   ///< of SET ROLE, else as requested_by; "" for jobs
    char requested_from[64];  ///< address of the client, "local"; "" for a schedule
    char application[NAMEDATALEN];
    char database[NAMEDATALEN];
    int pid;    ///< of the session; 0 for jobs
    int64 job;  ///< 0: none
    char outcome[16];
    char sqlstate[8];
    char message[512];
};

/// Entries on their way from sessions into the table. An entry must outlive the transaction of the
/// call, which may fail or be rolled back after the repository has been changed: so the session
/// leaves it here, and the scheduler writes it. All of it is under SharedState::lock.
struct AuditQueue {
    static constexpr int kRoom = 128;
    int64 first;           ///< number of the oldest entry
    int64 next;            ///< number of the entry that comes next
    int64 dropped;         ///< found no room: they stand in the server log only
    SteadyTime latest_at;  ///< when one came, with or without room
    pid_t writer_pid;      ///< who is writing the entries into the table
    AuditEntry entries[kRoom];

    bool waiting() const { return first != next || dropped != 0; }
};

/// Whether success is recorded here too, or by a trigger on the table that the call changes: in its
/// transaction, because what is rolled back has not happened.
enum class AuditOf { calls, failures };

/// Calls `body`, and records who called it, with which arguments, and how it ended: returned,
/// raised an error, or taken down with its session. To the server log at once, to the table a
/// moment later.
Datum audited(const char* operation, AuditOf what, PGFunction body, FunctionCallInfo fcinfo);

/// The job that the call at hand is about.
void audit_job(int64 id);

/// Fills in who and from where, of this session, and the time. `operation` is clipped.
void begin_audit_entry(AuditEntry* entry, const char* operation);

/// Leaves an entry for write_audit_log(). Safe in exit callbacks: it does not raise.
void queue_audit_entry(const AuditEntry* entry);

/// Writes a row. Inside a transaction, with SPI connected, as a superuser.
void insert_audit_entry(const AuditEntry* entry);

/// Writes the entries that wait, in a transaction of its own, and applies
/// chronos.audit_log_retention. An error is a warning, and the entries go on waiting. For a
/// background worker, outside of a transaction.
void write_audit_log();

/// Where the client of this session is: an address, or "local".
const char* client_address();

}  // namespace chronos::extension

/// An SQL-callable function whose calls are recorded.
#define CHRONOS_AUDITED(name, operation, what)                         \
    static Datum name##_body(PG_FUNCTION_ARGS);                        \
    CHRONOS_FUNCTION(name) {                                           \
        using namespace chronos::extension;                            \
        return audited(operation, AuditOf::what, name##_body, fcinfo); \
    }                                                                  \
    static Datum name##_body([[maybe_unused]] PG_FUNCTION_ARGS)
