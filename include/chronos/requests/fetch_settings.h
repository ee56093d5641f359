#pragma once

#include "chronos/config/config.h"
#include "chronos/ops/mount/fetch_settings.h"

namespace chronos::requests {

ops::mount::FetchSettings fetch_settings(const config::Config& config);

}  // namespace chronos::requests
