#pragma once

#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// What the backup says about damaged pages in files that this restore takes: a problem, or
/// warnings if the request wants the cluster as it was. Known from the manifest, so that nobody
/// waits for the copy to learn it, and nothing is touched.
Result<> judge_page_errors(const RestoreRequest& request, RestorePlan& plan);

}  // namespace chronos::ops::restore
