#include "extension/wal_stream.h"

#include "extension/engine_process.h"
#include "extension/engine_session.h"
#include "extension/heartbeat.h"
#include "extension/settings.h"
#include "extension/shared_state.h"
#include "extension/steady_time.h"
#include "extension/wal_state.h"

namespace chronos::extension {
namespace {

constexpr long kIdleMs = 60000;
constexpr int kRestartDelayMaxMs = 30000;
/// An engine that is busy for longer hangs; storage has deadlines of its own.
constexpr int kBusyMaxMs = 600000;

/// The engine and what it has been told. Lives as long as the launcher.
struct Stream {
    char arguments[4096];
    TimestampTz reload_time;
    SteadyTime started_at;
    SteadyTime not_before;  ///< no start before that: it ended too soon last time
    int restart_delay_ms;
    bool busy;
    SteadyTime told_at;
    XLogRecPtr told_lsn;
    TimestampTz flushed_at;      ///< when the server had flushed to told_lsn
    unsigned long long waiting;  ///< segments whose pieces the engine has yet to remove
};
Stream stream;

/// Whether there is anything to stream, and somewhere it belongs.
bool is_wanted() {
    return settings.wal_stream && XLogArchivingActive() && !RecoveryInProgress() &&
           pg_atomic_read_u32(&shared->shutting_down) == 0;
}

/// The next start waits the longer the sooner the engine ended.
void bury(const char* said) {
    const bool lived_long = has_passed(stream.started_at, 60000);
    stop_engine(kExitGraceMs);
    const char* reason = said != nullptr ? said : engine_end_reason();
    note_stream_failure(reason);
    ereport(WARNING, (errmsg("chronos: WAL is not streamed: %s", reason)));
    stream.restart_delay_ms =
        lived_long ? 1000 : Min(Max(1000, 2 * stream.restart_delay_ms), kRestartDelayMaxMs);
    stream.not_before = steady_now() + int64{1000} * stream.restart_delay_ms;
    stream.busy = false;
}

void stop() {
    stop_engine(kExitGraceMs);
    stream.busy = false;
    stream.told_lsn = 0;
}

void describe(const Arguments* arguments, char* text, Size size) {
    strlcpy(text, engine_path(), size);
    for (int i = 0; i < arguments->count; ++i) {
        strlcat(text, "\n", size);
        strlcat(text, arguments->item[i], size);
    }
}

/// A running engine with the present settings; false if it cannot be had now.
bool ensure_engine() {
    Arguments arguments;
    begin_arguments(&arguments, "stream");
    char wanted[sizeof stream.arguments];
    describe(&arguments, wanted, sizeof wanted);
    if (stream.reload_time != PgReloadTime || strcmp(stream.arguments, wanted) != 0) {
        stop();
        stream.not_before = 0;
        stream.restart_delay_ms = 0;
    }
    if (engine_running()) return true;
    if (steady_now() < stream.not_before) return false;
    strlcpy(stream.arguments, wanted, sizeof stream.arguments);
    stream.reload_time = PgReloadTime;
    stream.started_at = steady_now();
    stream.busy = false;
    stream.told_lsn = 0;
    const Failure failure = start_engine(&arguments);
    if (failure.happened) bury(failure.message);
    return !failure.happened;
}

void take_message() {
    const char* verb = engine_verb();
    const char* message = engine_field("message");
    if (strcmp(verb, "log") == 0) {
        relay_log_message(/*resident=*/true);
    } else if (strcmp(verb, "streamed") == 0) {
        stream.busy = false;
        stream.waiting = engine_field_number("waiting", 0);
        note_streamed(stream.told_lsn, stream.flushed_at);
        beat(Subject::stream, settings.wal_stream_interval_ms);
    } else if (strcmp(verb, "not-streamed") == 0) {
        // The engine has said so in the log, once.
        stream.busy = false;
        stream.told_lsn = 0;
        note_stream_failure(message != nullptr ? message : "no reason given");
    } else if (strcmp(verb, "failed") == 0) {
        bury(message);
    }
}

void hear() {
    while (engine_running()) {
        const EngineEvent event = engine_receive();
        if (event == EngineEvent::nothing) return;
        if (event == EngineEvent::message)
            take_message();
        else
            bury(nullptr);
    }
}

/// Tells the engine how far the server is, if there is news and it is time.
void tell() {
    if (!has_passed(stream.told_at, settings.wal_stream_interval_ms)) return;
    TimeLineID timeline;
    const XLogRecPtr flushed = GetFlushRecPtr(&timeline);
    // The current segment has always pieces; another one means that there is something to tidy up.
    const bool news = flushed != stream.told_lsn;
    if (!news && stream.waiting <= 1) {
        if (stream.told_lsn != 0) note_streamed(stream.told_lsn, GetCurrentTimestamp());
        stream.told_at = steady_now();
        beat(Subject::stream, settings.wal_stream_interval_ms);
        return;
    }
    const char* lsn =
        psprintf("%X/%X", static_cast<uint32>(flushed >> 32), static_cast<uint32>(flushed));
    const char* fields[] = {"timeline", psprintf("%u", timeline), "lsn", lsn, nullptr};
    const Failure failure = engine_queue("flushed", fields);
    if (failure.happened) {
        bury(failure.message);
        return;
    }
    stream.busy = true;
    stream.told_at = steady_now();
    stream.told_lsn = flushed;
    stream.flushed_at = GetCurrentTimestamp();
}

/// At most this long until tell() has something to do.
long until_next_ms() {
    if (stream.busy) return kIdleMs;  // the answer wakes us
    return left_until_ms(stream.told_at + int64{1000} * settings.wal_stream_interval_ms);
}

long run_round() {
    if (!ensure_engine()) return left_until_ms(stream.not_before);
    hear();
    if (!engine_running()) return 1000;
    if (stream.busy && has_passed(stream.told_at, kBusyMaxMs)) {
        bury("the engine does not answer");
        return 1000;
    }
    if (!stream.busy) tell();
    // A message is far smaller than what the channel takes at once.
    return engine_send() ? 100 : until_next_ms();
}

}  // namespace

long stream_wal() {
    if (!is_wanted()) {
        if (engine_running()) stop();
        rest(Subject::stream);
        return kIdleMs;
    }
    expect(Subject::stream, settings.wal_stream_interval_ms);
    static MemoryContext context = nullptr;
    if (context == nullptr)
        context = AllocSetContextCreate(TopMemoryContext, "chronos stream", ALLOCSET_DEFAULT_SIZES);
    MemoryContext former = MemoryContextSwitchTo(context);
    const long wait_ms = run_round();
    MemoryContextSwitchTo(former);
    MemoryContextReset(context);
    return wait_ms;
}

int stream_fd() {
    return engine_running() ? engine_fd() : -1;
}

}  // namespace chronos::extension
