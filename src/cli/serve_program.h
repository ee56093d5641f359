#pragma once

#include "chronos/engine/channel.h"
#include "chronos/requests/context.h"

/// `chronos serve` is an executable of its own, chronos-serve beside chronos, because of what the
/// HTTP library would cost every other command: a dozen libraries to load before a WAL segment can
/// be fetched. It knows all commands, since it is made of the same parts.
namespace chronos::cli {

struct ServeProgram {
    Result<int> (*command)(requests::Context&) = nullptr;
    Result<> (*engine)(requests::Context&, engine::Channel&) = nullptr;
};
/// By main() of chronos-serve, before anything else.
void set_serve_program(ServeProgram program);

/// Replaces this process by chronos-serve with the same arguments. Returns only if that fails:
/// kind execute.
Error become_serve_program();

/// The role of an engine; in chronos itself only the error of become_serve_program().
Result<> serve_http(requests::Context& context, engine::Channel& channel);

}  // namespace chronos::cli
