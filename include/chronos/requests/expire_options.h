#pragma once

#include "chronos/ops/expire/expire.h"
#include "chronos/requests/context.h"

namespace chronos::requests {

/// What the repoN-retention-* options ask for.
ops::expire::Retention retention_of(const config::Config& config, unsigned repo_key);

/// Of the repositories that the command works on.
Result<ops::expire::ExpireRequest> expire_request(const config::Config& config);

/// What a backup does at its end, unless expire-auto=n: for the repository that it was made in.
Result<> expire_after_backup(Context& context, unsigned repo_key);

}  // namespace chronos::requests
