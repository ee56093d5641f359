#pragma once

#include "cli/context.h"
#include "cli/engine_channel.h"

namespace chronos::cli::serve {

/// Serves until the process is asked to stop.
Result<int> run(Context& context);
/// The same for the server: until the channel ends, too.
Result<> run_engine(Context& context, EngineChannel& channel);

}  // namespace chronos::cli::serve
