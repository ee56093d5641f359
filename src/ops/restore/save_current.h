#pragma once

#include <string>
#include <vector>

#include "ops/restore/mapping.h"

namespace chronos::ops::restore {

/// Renames every destination that is there and not empty to "<path>.saved-20261120-151617", the
/// data directory first: from then on nobody can start the old cluster without what its links lead
/// to. Interrupted between two renames it can simply be run again. `saved` gets the new names, also
/// of those that were moved before an error. Kind file_move; a mount point cannot be renamed, which
/// the hint says.
Result<> save_current(const std::vector<Destination>& destinations, UnixTime now,
                      std::vector<std::string>& saved);

}  // namespace chronos::ops::restore
