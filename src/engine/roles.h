#pragma once

#include "chronos/engine/channel.h"
#include "chronos/engine/engine.h"
#include "chronos/requests/context.h"

/// What an engine does once it has said hello: a function a role. Each returns at the end of its
/// work; an error is sent as `failed` by the caller.
namespace chronos::engine {

/// Pushes WAL until the channel ends; then ends the process, whatever is being pushed.
Result<> serve_archive(requests::Context& context, Channel& channel);

/// Streams WAL that is not archived yet, when it is told how far the server has flushed.
Result<> serve_stream(requests::Context& context, Channel& channel);

/// Work for the session at the other end of the channel.
Result<> serve_backup(requests::Context& context, Channel& channel);
Result<> serve_check(requests::Context& context, Channel& channel);
/// Judges by rules, with the session's facts; with --alert also tells of changes and remembers.
Result<> serve_health(requests::Context& context, Channel& channel);
Result<> serve_stanza_create(requests::Context& context, Channel& channel);

/// Verifies the repositories; damage is a finding, not a failure.
Result<> serve_verify(requests::Context& context, Channel& channel);

/// Runs a command of the command line and sends what it prints.
Result<> serve_command(requests::Context& context, Channel& channel, const Parts& parts);

/// Runs a command of the command line as a job: its progress, findings and results are messages,
/// what it prints are log lines.
Result<> serve_job(requests::Context& context, Channel& channel, const Parts& parts);

/// Runs a shell command that the server names. Needs no configuration.
Result<> serve_hook(Channel& channel, const Cancellation& cancel);

}  // namespace chronos::engine
