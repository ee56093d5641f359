#pragma once

#include "extension/engine_session.h"

namespace chronos::extension {

/// The options of an engine that judges: chronos.health_*, as far as they are set.
void add_health_options(Arguments* arguments);

/// Starts the health worker when it is due; from the launcher's loop. Returns in how many
/// milliseconds it wants to be called again.
long look_after_health();

/// Keeps the worker of `chronos serve` running while chronos.http_listen is set; from the
/// launcher's loop. Returns in how many milliseconds it wants to be called again.
long look_after_http_service();

}  // namespace chronos::extension
