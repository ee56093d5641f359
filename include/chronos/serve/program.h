#pragma once

#include "chronos/engine/channel.h"
#include "chronos/requests/context.h"

namespace chronos::serve {

/// Serves until the process is asked to stop.
Result<int> run(requests::Context& context);
/// The same for the server: until the channel ends, too.
Result<> run_engine(requests::Context& context, engine::Channel& channel);

}  // namespace chronos::serve
