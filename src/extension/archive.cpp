#include "extension/engine_process.h"
#include "extension/engine_session.h"
#include "extension/heartbeat.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/steady_time.h"
#include "extension/wal_state.h"

/// Archive callbacks, in the archiver: each push is one question to a resident engine.
///
/// The archiver is told to do its last round by a signal whose handler sets the latch, and looks at
/// it behind its own wait on that latch only. So nothing here waits on MyLatch: a latch consumed in
/// the callback would cost a shutdown a minute.

namespace chronos::extension {
namespace {

constexpr long kSliceMs = 100;
/// A reload is applied between two files: a push that takes longer is given up for it.
constexpr int kReloadGraceMs = 500;
constexpr int kRestartDelayMaxMs = 30000;
constexpr int kRepeatWarningMs = 60000;
/// What the archiver itself rests after a file that could not be archived, and a little more.
constexpr int64 kArchiverRestMs = 65000;
/// An engine that says nothing for that many deadlines hangs; before, it may be slow.
constexpr int kSilentDeadlinesMax = 3;

enum class Push { stored, failed, interrupted };

/// The engine and what it was started with. Lives as long as the archiver.
struct Resident {
    char arguments[4096];
    TimestampTz reload_time;
    SteadyTime started_at;
    SteadyTime not_before;  ///< no start before that: it ended too soon last time
    int restart_delay_ms;
    int silent_deadlines;
    char last_end[1024];
};
Resident resident;
MemoryContext push_context;

/// The same complaint once a minute: the archiver tries three times a round.
void complain(const char* file, const char* message, const char* hint) {
    static char last[1024];
    static SteadyTime last_at;
    note_failed_push(file, message, hint);
    char text[1024];
    snprintf(text, sizeof text, "chronos: could not archive \"%s\": %s", file, message);
    const bool repeated = strcmp(text, last) == 0 && !has_passed(last_at, kRepeatWarningMs);
    if (!repeated) {
        strlcpy(last, text, sizeof last);
        last_at = steady_now();
    }
    ereport(repeated ? DEBUG1 : WARNING,
            (errmsg("%s", text), hint != nullptr && *hint != '\0' ? errhint("%s", hint) : 0));
}

void describe_arguments(const Arguments* arguments, char* text, Size size) {
    strlcpy(text, engine_path(), size);
    for (int i = 0; i < arguments->count; ++i) {
        strlcat(text, "\n", size);
        strlcat(text, arguments->item[i], size);
    }
    strlcat(text, "\n", size);
    strlcat(text, engine_time_zone(), size);
}

/// Keeps the reason, and makes the next start wait the longer the sooner the engine ended.
void bury_engine() {
    const bool lived_long = has_passed(resident.started_at, 60000);
    stop_engine(kExitGraceMs);
    strlcpy(resident.last_end, engine_end_reason(), sizeof resident.last_end);
    if (lived_long) resident.restart_delay_ms = 0;
    resident.not_before = steady_now() + int64{1000} * resident.restart_delay_ms;
    resident.restart_delay_ms = Min(Max(1000, 2 * resident.restart_delay_ms), kRestartDelayMaxMs);
}

/// False with a complaint if there is no engine to ask.
bool ensure_engine(const char* file) {
    Arguments arguments;
    begin_arguments(&arguments, "archive");
    char wanted[sizeof resident.arguments];
    describe_arguments(&arguments, wanted, sizeof wanted);
    // After any reload: the configuration file, which only engines read, may have been part of it.
    const bool outdated =
        resident.reload_time != PgReloadTime || strcmp(resident.arguments, wanted) != 0;
    if (outdated) {
        stop_engine(kExitGraceMs);
        resident.not_before = 0;
        resident.restart_delay_ms = 0;
    }
    if (engine_running()) return true;
    if (steady_now() < resident.not_before) {
        complain(file, resident.last_end, "The engine is started again shortly.");
        return false;
    }
    strlcpy(resident.arguments, wanted, sizeof resident.arguments);
    resident.reload_time = PgReloadTime;
    resident.started_at = steady_now();
    resident.silent_deadlines = 0;
    const Failure failure = start_engine(&arguments);
    if (failure.happened) complain(file, failure.message, failure.hint);
    return !failure.happened;
}

bool server_is_going_down() {
    if (pg_atomic_read_u32(&shared->shutting_down) != 0) return true;
    // Without a launcher nobody sets the flag.
    return shared->launcher_pid == 0 && postmaster_is_stopping();
}

/// The archiver exits in the way it does when archive_library changes; the next start of the server
/// offers the file again. To return false instead would cost up to three rounds with a second each.
[[noreturn]] void leave_for_shutdown(const char* file) {
    ereport(LOG, (errmsg("chronos: shutdown does not wait for \"%s\" any longer", file),
                  errdetail("It is archived after the next start."),
                  errhint("If this server is not started again, push what has a .ready in "
                          "pg_wal/archive_status with \"chronos archive-push\".")));
    proc_exit(0);
}

/// Why a push under way must end early. The times are when each reason was first seen; 0: not yet.
struct Interruptions {
    SteadyTime shutdown_seen;
    SteadyTime reload_seen;
};

bool must_stop(Interruptions* seen, const char* file) {
    if (ShutdownRequestPending) return true;
    if (server_is_going_down()) {
        if (seen->shutdown_seen == 0) seen->shutdown_seen = steady_now();
        if (has_passed(seen->shutdown_seen, settings.shutdown_grace_ms)) leave_for_shutdown(file);
    }
    if (!ConfigReloadPending) return false;
    if (seen->reload_seen == 0) seen->reload_seen = steady_now();
    return has_passed(seen->reload_seen, kReloadGraceMs);
}

/// The answer to the push of `file`, if the message at hand is it. Late answers to earlier pushes
/// are none; `pushed` for this file is one, whenever it was asked for.
bool take_answer(const char* file, Push* outcome) {
    const char* verb = engine_verb();
    const char* about = engine_field("file");
    if (strcmp(verb, "log") == 0) relay_log_message(/*resident=*/true);
    const bool failed = strcmp(verb, "failed") == 0;
    if (failed && about == nullptr) {
        // The engine itself ends; what it says is the best reason there is.
        complain(file, engine_field("message") != nullptr ? engine_field("message") : "",
                 engine_field("hint"));
        bury_engine();
        *outcome = Push::failed;
        return true;
    }
    if (about == nullptr || strcmp(about, file) != 0) return false;
    if (strcmp(verb, "pushed") == 0) {
        // The engine's warning is in the log already.
        if (engine_field("dropped") != nullptr) note_dropped(file);
        *outcome = Push::stored;
        return true;
    }
    if (!failed) return false;
    const char* message = engine_field("message");
    complain(file, message != nullptr ? message : "no reason given", engine_field("hint"));
    *outcome = Push::failed;
    return true;
}

void give_up_waiting(const char* file, bool heard) {
    complain(file, psprintf("no answer within %d s", settings.archive_timeout_s),
             "The storage is slow or does not answer; see chronos.archive_timeout.");
    if (heard)
        resident.silent_deadlines = 0;
    else if (++resident.silent_deadlines >= kSilentDeadlinesMax)
        bury_engine();
}

Push await_answer(const char* file) {
    Interruptions interruptions = {};
    const SteadyTime begin = steady_now();
    bool heard = false;
    for (;;) {
        const EngineEvent event = engine_receive();
        if (event == EngineEvent::message) {
            Push outcome;
            heard = true;
            if (take_answer(file, &outcome)) return outcome;
            continue;
        }
        if (event == EngineEvent::ended) {
            bury_engine();
            complain(file, resident.last_end, nullptr);
            return Push::failed;
        }
        beat(Subject::archiver, kSliceMs);
        if (must_stop(&interruptions, file)) return Push::interrupted;
        if (has_passed(begin, int64{1000} * settings.archive_timeout_s)) {
            give_up_waiting(file, heard);
            return Push::failed;
        }
        const int events = WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH |
                           (engine_send() ? WL_SOCKET_WRITEABLE : 0);
        WaitLatchOrSocket(nullptr, events, engine_fd(), kSliceMs, wait_event(Wait::archive));
        // Absorbs the barriers that DROP DATABASE and its kind wait for.
        CHECK_FOR_INTERRUPTS();
    }
}

bool push(const char* file) {
    if (!ensure_engine(file)) return false;
    const char* fields[] = {"file", file, nullptr};
    const Failure failure = engine_queue("push", fields);
    if (failure.happened) {
        complain(file, failure.message, nullptr);
        return false;
    }
    engine_send();
    const bool stored = await_answer(file) == Push::stored;
    if (stored) {
        resident.restart_delay_ms = 0;
        resident.silent_deadlines = 0;
    }
    return stored;
}

/// What the server itself does from 17 on: before, an error would end the archiver, uncounted.
void recover_from_error(MemoryContext former) {
    HOLD_INTERRUPTS();
    EmitErrorReport();
    LWLockReleaseAll();
    ConditionVariableCancelSleep();
    pgstat_report_wait_end();
    ReleaseAuxProcessResources(false);
    AtEOXact_Files(false);
    MemoryContextSwitchTo(former);
    FlushErrorState();
    RESUME_INTERRUPTS();
}

bool archive_file(const char* file) {
    if (push_context == nullptr)
        push_context =
            AllocSetContextCreate(TopMemoryContext, "chronos archive", ALLOCSET_DEFAULT_SIZES);
    MemoryContext former = MemoryContextSwitchTo(push_context);
    volatile bool stored = false;
    PG_TRY();
    { stored = push(file); }
    PG_CATCH();
    {
        recover_from_error(former);
        stored = false;
    }
    PG_END_TRY();
    MemoryContextSwitchTo(former);
    MemoryContextReset(push_context);
    if (stored)
        beat_and_rest(Subject::archiver);
    else
        beat(Subject::archiver, kArchiverRestMs);
    if (shared != nullptr) tell_of_stillness(Subject::launcher);
    return stored;
}

/// Why archiving cannot work, nullptr if it can. Asked before every file: no I/O.
const char* missing_configuration() {
    // WAL of a cluster in the making, which pg_upgrade removes; the former cluster archives its own
    // should it be started again.
    if (IsBinaryUpgrade) return "The server was started by pg_upgrade.";
    if (shared == nullptr)
        return "chronos_backup is in archive_library but not in shared_preload_libraries.";
    if (XLogArchiveCommand != nullptr && *XLogArchiveCommand != '\0')
        return "archive_command is set beside archive_library: which of them archives differs "
               "between PostgreSQL versions.";
    return nullptr;
}

bool is_configured() {
    const char* reason = missing_configuration();
    if (reason == nullptr) return true;
#if PG_VERSION_NUM >= 170000
    arch_module_check_errdetail("%s", reason);
#else
    complain("*", "archiving is not configured", reason);
#endif
    return false;
}

#if PG_VERSION_NUM >= 160000
bool is_configured_callback(ArchiveModuleState*) {
    return is_configured();
}
bool archive_file_callback(ArchiveModuleState*, const char* file, const char*) {
    return archive_file(file);
}
void shutdown_callback(ArchiveModuleState*) {
    stop_engine(kExitGraceMs);
}

const ArchiveModuleCallbacks callbacks = {
    .startup_cb = nullptr,
    .check_configured_cb = is_configured_callback,
    .archive_file_cb = archive_file_callback,
    .shutdown_cb = shutdown_callback,
};
#else
bool archive_file_callback(const char* file, const char*) {
    return archive_file(file);
}
void shutdown_callback() {
    stop_engine(kExitGraceMs);
}
#endif

}  // namespace
}  // namespace chronos::extension

extern "C" {
#if PG_VERSION_NUM >= 160000
PGDLLEXPORT const ArchiveModuleCallbacks* _PG_archive_module_init(void) {
    return &chronos::extension::callbacks;
}
#else
PGDLLEXPORT void _PG_archive_module_init(ArchiveModuleCallbacks* callbacks);
void _PG_archive_module_init(ArchiveModuleCallbacks* callbacks) {
    callbacks->check_configured_cb = chronos::extension::is_configured;
    callbacks->archive_file_cb = chronos::extension::archive_file_callback;
    callbacks->shutdown_cb = chronos::extension::shutdown_callback;
}
#endif
}
