#pragma once

#include "extension/failure.h"
#include "extension/postgres_api.h"

namespace chronos::extension {

/// What an engine gets to end by itself when its server process ends: a shutdown waits for both.
inline constexpr int kExitGraceMs = 300;

/// Arguments of an engine, behind `chronos`.
struct Arguments {
    static constexpr int kMax = 128;
    const char* item[kMax + 1];  ///< nullptr behind the last
    int count;
};
void add_argument(Arguments* arguments, const char* text);
/// `engine <role> --stanza=... --pg1-path=...` and the other options that come from settings, in
/// memory of the current context.
void begin_arguments(Arguments* arguments, const char* role);
/// --process-max, if chronos.process_max says something.
void add_process_max(Arguments* arguments);
/// The options alone, for `engine command <command>`.
void add_common_options(Arguments* arguments);

/// Starts the engine of this process, accounts for its descriptors and makes sure that it does not
/// outlive the process.
Failure start_engine(const Arguments* arguments);
/// Stops and reaps it; does not raise. Returns at once if there is none.
void stop_engine(int grace_ms);

/// Writes a `log` message of the engine to the server log, if chronos.log_level has it. A resident
/// engine says something about every segment: what is `info` for a job counts as `detail` there.
void relay_log_message(bool resident);

/// What a session is for. Callbacks may raise: the engine is then stopped.
struct SessionPlan {
    /// A statement of the engine runs in a transaction of its own (a worker, which has none), or in
    /// a subtransaction of the caller's.
    bool own_transactions;
    /// Every message that the session does not handle itself: progress, output, finding, done.
    void (*on_message)(void* context, const char* verb);
    /// Around each statement of the engine; may be nullptr.
    void (*on_statement)(void* context, bool begins);
    /// Asked about ten times a second; true asks the engine to end. May be nullptr.
    bool (*cancelled)(void* context);
    /// What the engine gets, once it has been asked to end, until it is killed; 0: ten seconds, to
    /// leave the repository tidy.
    int cancel_grace_ms;
    void* context;
    /// What the engine is told first; nullptr: nothing. Fields as of engine_queue().
    const char* first_verb;
    const char* const* first_fields;
};

enum class SessionOutcome {
    done,
    failed,
    cancelled,
    skipped,  ///< another server of the cluster does it: `message` says so
};

struct SessionResult {
    SessionOutcome outcome;
    int code;             ///< of `failed`
    const char* message;  ///< never nullptr; not text of the database yet (text.h)
    const char* hint;     ///< never nullptr; likewise
};

/// Runs an engine to its end (`failed` if it cannot be started): serves its statements through SPI,
/// relays its log. The result's texts are in the memory context that is current at the call.
/// Whatever is raised, the engine is gone when control leaves here.
SessionResult run_engine(const Arguments* arguments, const SessionPlan* plan);

/// Runs the statement of the `query` message at hand and queues the answer.
void answer_query(bool own_transaction);

}  // namespace chronos::extension
