#pragma once

#include <string>

#include "chronos/base/result.h"
#include "chronos/config/config.h"

namespace chronos::requests {

/// What every command asks that changes repositories: none of them lies in the cluster or around
/// it, no two are the same place, and none lies among what another one holds. `pg_path` "" knows no
/// cluster.
/// Kind option_invalid_value.
Result<> check_places(const config::Config& config, const std::string& pg_path);

}  // namespace chronos::requests
