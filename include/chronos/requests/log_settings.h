#pragma once

#include "chronos/config/config.h"
#include "chronos/present/log_output.h"

namespace chronos::requests {

/// What the options log-* ask for, of a run of the command that the configuration is of.
present::LogSettings log_settings(const config::Config& config);

}  // namespace chronos::requests
