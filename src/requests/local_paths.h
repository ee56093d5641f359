#pragma once

#include <string>
#include <vector>

#include "chronos/config/config.h"
#include "chronos/ops/check/check.h"

namespace chronos::requests {

/// Whether the owner of the data directory, as whom the server and its engines run, can use the
/// directories beside the cluster: locks (without which nothing works), spool and log. Of those,
/// and of that for drills, a note says which lie in a data directory or in a repository. Empty if
/// all is well.
std::vector<ops::check::CheckFinding> check_local_paths(const config::Config& config,
                                                        const std::string& pg_path);

}  // namespace chronos::requests
