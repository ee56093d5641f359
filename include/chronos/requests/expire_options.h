#pragma once

#include "chronos/config/config.h"
#include "chronos/ops/expire/expire.h"

namespace chronos::requests {

/// What the repoN-retention-* options ask for.
ops::expire::Retention retention_of(const config::Config& config, unsigned repo_key);

/// Of the repositories that the command works on.
Result<ops::expire::ExpireRequest> expire_request(const config::Config& config);

/// Of that repository alone, with the locks of the former.
Result<ops::expire::ExpireRequest> expire_request_in(const config::Config& config,
                                                     unsigned repo_key);

}  // namespace chronos::requests
