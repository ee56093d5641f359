#include "extension/engine_session.h"
#include "chronos/base/error_kind.h"

#include "extension/engine_process.h"
#include "extension/settings.h"
#include "extension/steady_time.h"
#include "extension/text.h"

namespace chronos::extension {
namespace {

constexpr int kCancelGraceMs = 10000;
constexpr int kHelloTimeoutMs = 30000;
constexpr int kSliceMs = 100;
/// Channel and standard error.
constexpr int kDescriptors = 2;

void stop_engine_at_exit(int, Datum) {
    stop_engine(kExitGraceMs);
}

struct Run {
    const SessionPlan* plan;
    MemoryContext result_context;
    SessionResult result;
    bool has_result;
    bool cancelling;
    SteadyTime started_at;
    SteadyTime cancelled_at;
};

void set_result(Run* run, SessionOutcome outcome, int code, const char* message, const char* hint) {
    run->result.outcome = outcome;
    run->result.code = code;
    run->result.message = MemoryContextStrdup(run->result_context, message);
    run->result.hint = MemoryContextStrdup(run->result_context, hint);
    run->has_result = true;
}

const char* field_or(const char* key, const char* fallback) {
    const char* value = engine_field(key);
    return value != nullptr ? value : fallback;
}

void answer(const SessionPlan* plan) {
    if (plan->on_statement != nullptr) plan->on_statement(plan->context, true);
    answer_query(plan->own_transactions);
    if (plan->on_statement != nullptr) plan->on_statement(plan->context, false);
}

void handle_message(Run* run) {
    const char* verb = engine_verb();
    if (strcmp(verb, "log") == 0) {
        relay_log_message(/*resident=*/false);
    } else if (strcmp(verb, "query") == 0) {
        answer(run->plan);
    } else if (strcmp(verb, "failed") == 0) {
        set_result(run, SessionOutcome::failed,
                   static_cast<int>(engine_field_number("code", exit_code(ErrorKind::internal))),
                   field_or("message", "no reason given"), field_or("hint", ""));
    } else {
        // A callback may run statements too, and the message is gone with the next one received.
        if (strcmp(verb, "done") == 0) set_result(run, SessionOutcome::done, 0, "", "");
        if (run->plan->on_message != nullptr) run->plan->on_message(run->plan->context, verb);
    }
}

void look_after_cancel(Run* run) {
    if (run->cancelling || run->plan->cancelled == nullptr ||
        !run->plan->cancelled(run->plan->context))
        return;
    run->cancelling = true;
    run->cancelled_at = steady_now();
    engine_terminate();
}

int cancel_grace_ms(const SessionPlan* plan) {
    return plan->cancel_grace_ms > 0 ? plan->cancel_grace_ms : kCancelGraceMs;
}

/// False once it is time to give the engine up.
bool still_in_time(Run* run) {
    if (run->cancelling && has_passed(run->cancelled_at, cancel_grace_ms(run->plan))) return false;
    if (engine_said_hello() || !has_passed(run->started_at, kHelloTimeoutMs)) return true;
    set_result(run, SessionOutcome::failed, exit_code(ErrorKind::protocol), "engine did not answer",
               "");
    return false;
}

void wait_for_engine(bool unsent) {
    const int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | WL_SOCKET_READABLE |
                       (unsent ? WL_SOCKET_WRITEABLE : 0);
    const int happened =
        WaitLatchOrSocket(MyLatch, events, engine_fd(), kSliceMs, wait_event(Wait::engine));
    if (happened & WL_LATCH_SET) ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
}

void send_first(const SessionPlan* plan) {
    if (plan->first_verb == nullptr) return;
    const Failure failure = engine_queue(plan->first_verb, plan->first_fields);
    if (failure.happened)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s", failure.message)));
}

void converse(Run* run) {
    while (!run->has_result) {
        CHECK_FOR_INTERRUPTS();
        look_after_cancel(run);
        const EngineEvent event = engine_receive();
        if (event == EngineEvent::ended) return;
        if (event == EngineEvent::message) {
            handle_message(run);
            continue;
        }
        if (!still_in_time(run)) return;
        wait_for_engine(engine_send());
    }
}

/// Asks an engine to end that somebody has cancelled, and gives it the time to leave things tidy.
/// Not while the process itself has to end: then all of it is in a hurry.
void dismiss_engine(int limit_ms) {
    const SteadyTime begin = steady_now();
    engine_terminate();
    while (engine_running() && !ProcDiePending && !has_passed(begin, limit_ms)) {
        const EngineEvent event = engine_receive();
        if (event == EngineEvent::ended) break;
        if (event == EngineEvent::message) {
            if (strcmp(engine_verb(), "log") == 0) relay_log_message(/*resident=*/false);
            continue;
        }
        WaitLatchOrSocket(nullptr, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | WL_SOCKET_READABLE,
                          engine_fd(), kSliceMs, wait_event(Wait::engine));
    }
    stop_engine(kExitGraceMs);
}

/// The engine has gone, or has to. After `done` it has nothing left to do and ends by itself.
void conclude(Run* run) {
    stop_engine(run->has_result ? 1000 : kExitGraceMs);
    if (!run->has_result)
        set_result(run, SessionOutcome::failed, exit_code(ErrorKind::internal), engine_end_reason(),
                   "");
    if (run->cancelling && run->result.outcome != SessionOutcome::done)
        run->result.outcome = SessionOutcome::cancelled;
}

}  // namespace

void add_argument(Arguments* arguments, const char* text) {
    if (arguments->count >= Arguments::kMax) elog(ERROR, "too many arguments for an engine");
    arguments->item[arguments->count++] = text;
    arguments->item[arguments->count] = nullptr;
}

void add_common_options(Arguments* arguments) {
    add_argument(arguments, psprintf("--stanza=%s", settings.stanza));
    if (settings.config_file != nullptr && *settings.config_file != '\0')
        add_argument(arguments, psprintf("--config=%s", settings.config_file));
}

void begin_arguments(Arguments* arguments, const char* role) {
    arguments->count = 0;
    add_argument(arguments, "engine");
    add_argument(arguments, role);
    add_common_options(arguments);
    add_argument(arguments, psprintf("--pg1-path=%s", DataDir));
    // The other roles do not know the option.
    if (strcmp(role, "archive") == 0) add_process_max(arguments);
}

void add_process_max(Arguments* arguments) {
    if (settings.process_max > 0)
        add_argument(arguments, psprintf("--process-max=%d", settings.process_max));
}

Failure start_engine(const Arguments* arguments) {
    static bool callback_registered = false;
    if (!callback_registered) {
        before_shmem_exit(stop_engine_at_exit, 0);
        callback_registered = true;
    }
    const EngineStart start = {engine_path(), arguments->item, engine_time_zone()};
    const Failure failure = engine_start(start);
    if (!failure.happened)
        for (int i = 0; i < kDescriptors; ++i) ReserveExternalFD();
    return failure;
}

void stop_engine(int grace_ms) {
    if (!engine_running()) return;
    engine_stop(grace_ms);
    for (int i = 0; i < kDescriptors; ++i) ReleaseExternalFD();
}

void relay_log_message(bool resident) {
    int level = log_level_of(engine_field("level"));
    if (resident && level == kLogInfo) level = kLogDetail;
    if (level > settings.log_level) return;
    ereport(level <= kLogWarning ? WARNING : LOG,
            (errmsg("chronos: %s", database_text(field_or("text", ""))), errhidestmt(true),
             errhidecontext(true)));
}

SessionResult run_engine(const Arguments* arguments, const SessionPlan* plan) {
    Run run = {};
    run.plan = plan;
    run.result_context = CurrentMemoryContext;
    run.started_at = steady_now();
    const Failure failure = start_engine(arguments);
    if (failure.happened) {
        set_result(&run, SessionOutcome::failed, exit_code(ErrorKind::execute), failure.message,
                   failure.hint);
        return run.result;
    }
    PG_TRY();
    {
        send_first(plan);
        converse(&run);
    }
    PG_CATCH();
    {
        dismiss_engine(cancel_grace_ms(plan));
        PG_RE_THROW();
    }
    PG_END_TRY();
    conclude(&run);
    return run.result;
}

}  // namespace chronos::extension
