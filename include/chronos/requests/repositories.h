#pragma once

#include <vector>

#include "chronos/base/result.h"
#include "chronos/config/config.h"
#include "chronos/repo/repository.h"

namespace chronos::requests {

/// The repository "repo<key>" as configured. The directory need not exist.
Result<repo::Repository> open_repository(const config::Config& config, unsigned key);
/// The one of `--repo`, or all in ascending order of their keys.
Result<std::vector<repo::Repository>> open_repositories(const config::Config& config);
/// Those that `--repo` leaves out, as far as they can be opened.
std::vector<repo::Repository> open_other_repositories(const config::Config& config);
/// Whose locks to take: of the repository named by --repo, else of all, as pgBackRest does.
std::vector<unsigned> lock_keys(const config::Config& config);

}  // namespace chronos::requests
