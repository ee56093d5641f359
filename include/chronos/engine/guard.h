#pragma once

#include <chrono>

namespace chronos::engine {

/// Splits a process in two: returns in a new process, which is to do the work; the calling one
/// becomes its guard and ends with 0 or 1 when the work has ended, never otherwise. To be called
/// first of all, while there is one thread.
///
/// Why: PostgreSQL restarts the whole cluster when a child that it does not know dies by a signal,
/// or with another status than 0 and 1. Where the postmaster is PID 1 it adopts every orphan, so an
/// engine may be killed by anything and yet must never be seen to die by it.
///
/// The guard
/// - stops the worker at SIGTERM, SIGINT, SIGHUP or SIGQUIT, and when the other end of standard
///   input is closed: SIGTERM at once, SIGKILL two seconds later. `time_to_end` of an engine is in
///   place of these two seconds at a signal, as long as the channel is open;
/// - when the worker has ended kills and reaps whatever that left behind;
/// - says on standard output, as the last message of the channel, if a signal ended the worker.
/// The worker ends with the guard, has a high OOM score and leaves no core file, which would hold
/// keys and user data.
void enter_guarded_worker();

inline constexpr std::chrono::seconds kTimeToEnd{2};

/// The same for an engine: the guard stops the worker when the parent dies, too.
void enter_engine_worker(std::chrono::seconds time_to_end = kTimeToEnd);

/// Again after signal handlers were reset: the worker exits at once when its guard dies.
void exit_with_guard();

}  // namespace chronos::engine
