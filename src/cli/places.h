#pragma once

#include <string>

#include "chronos/base/result.h"
#include "chronos/config/config.h"

namespace chronos::cli {

/// What every command asks that writes to repositories and knows the data directory: none of them
/// lies in the cluster or around it, and no two are the same place. `pg_path` "" knows no cluster.
/// Kind option_invalid_value.
Result<> check_places(const config::Config& config, const std::string& pg_path);

}  // namespace chronos::cli
