#pragma once

#include <string>
#include <vector>

#include "mapping.h"

namespace chronos::ops {

/// Renames every destination that is there and not empty to "<path>.saved-20261120-151617", the
/// data directory first: from then on nobody can start the old cluster without what its links lead
/// to. Interrupted between two renames it can simply be run again. Returns the new names. Kind
/// file_move; a mount point cannot be renamed, which the hint says.
Result<std::vector<std::string>> save_current(const std::vector<Destination>& destinations,
                                              UnixTime now);

}  // namespace chronos::ops
