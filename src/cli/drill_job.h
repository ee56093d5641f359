#pragma once

#include "cli/context.h"

namespace chronos::cli {

/// `drill` as a job of the server: what it prints and finds goes to logs and views that others
/// read, so it is without what the cluster has answered.
Result<int> run_drill_job(Context& context);

}  // namespace chronos::cli
