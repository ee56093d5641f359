#pragma once

#include "extension/failure.h"

namespace chronos::extension {

/// The one engine that a server process has at a time: an archiver its resident one, a job worker
/// or a client backend the one it works with.
///
/// This header is the line between two worlds. Files that include postgres_api.h may be left at any
/// call by the server's longjmp, so nothing in them has a destructor; the files behind this line
/// are C++ and never call the server, so no longjmp crosses them. What passes is plain memory, and
/// every function here is noexcept: an exception that got out would abort the process, and with it
/// the cluster. test/lint/extension.t keeps each file on one side.
///
/// No function waits, but engine_stop() for as long as it is told to. Pointers that come back are
/// valid until the next call of engine_receive().

enum class EngineEvent {
    nothing,  ///< wait until engine_fd() is readable
    message,  ///< engine_verb() and engine_field() describe it
    ended,    ///< no further message: the channel is closed or broken; see engine_end_reason()
};

struct EngineStart {
    const char* executable;
    const char* const* arguments;  ///< behind argv[0]; nullptr at the end
    const char* time_zone;         ///< TZ of the engine; "" for the server's own
};

/// Fails if one is running or the program cannot be started.
Failure engine_start(const EngineStart& start) noexcept;
bool engine_running() noexcept;

/// Readable when there is something to receive; -1 without engine.
int engine_fd() noexcept;

/// Takes the next message. Swallows the hello line (engine_said_hello() tells that it came) and
/// ends the channel if it speaks another protocol.
EngineEvent engine_receive() noexcept;
bool engine_said_hello() noexcept;

const char* engine_verb() noexcept;
/// nullptr if the message has no such field.
const char* engine_field(const char* key) noexcept;
/// `fallback` if the message has no such field or it is not a decimal number.
unsigned long long engine_field_number(const char* key, unsigned long long fallback) noexcept;

/// That the last engine which said hello is of another release than this module, "" if it is not;
/// and a sentence about what ends that. Both work together as long as they speak the same protocol.
const char* engine_version_difference() noexcept;
const char* engine_version_remedy() noexcept;

/// "0.10.0" than "0.9.1".
bool is_newer_release(const char* version, const char* than) noexcept;

/// Why there is no further message, e.g. "engine was killed by signal 9 (Killed)", and the last it
/// said on standard error. Call it once the engine has been stopped.
const char* engine_end_reason() noexcept;

/// Adds a message to what is to be sent. `fields` is key, value, key, value, ..., nullptr; a field
/// whose value is nullptr is left out.
Failure engine_queue(const char* verb, const char* const* fields) noexcept;
/// Forgets what has been queued and not sent.
void engine_unqueue() noexcept;
/// Sends as much as the engine takes now; true if something is left (wait until engine_fd() is
/// writable).
bool engine_send() noexcept;

/// Asks the engine to end, and goes on receiving what it says.
void engine_terminate() noexcept;

/// Ends the engine and reaps it: SIGTERM, after `grace_ms` SIGKILL for the process that does the
/// work, a second later for its guard too. Returns at once if there is none.
void engine_stop(int grace_ms) noexcept;

}  // namespace chronos::extension
