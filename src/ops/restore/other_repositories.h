#pragma once

#include <string>

#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// A warning for each of RestoreRequest::other_repositories that has WAL of the plan's cluster
/// behind `last`, the last segment of the way ("" if there is none), on the timeline of the target
/// or on a later one. Asked for some seconds only: a repository that hangs may be why it is left
/// out.
void tell_of_other_wal(const RestoreRequest& request, const std::string& last, RestorePlan& plan);

}  // namespace chronos::ops::restore
