#pragma once

#include <string>
#include <vector>

#include "chronos/ops/restore.h"
#include "mapping.h"
#include "ownership.h"

namespace chronos::ops {

/// Files that a restore leaves alone or makes itself.
bool is_never_restored(const RestorePlan& plan, std::string_view name);

/// Whether a directory may be restored into (section 9.4). Kinds path_open, path_not_empty,
/// file_exists. Changes nothing.
Result<> check_destination(const RestorePlan& plan, const Destination& destination);

/// Removes what is not in the manifest from directories that exist, makes those that do not, and
/// makes all directories and links of the manifest. An existing global/pg_control goes first and
/// for good: from here on the directory cannot be started.
Result<> prepare_destinations(const RestorePlan& plan, const Ownership& ownership);

}  // namespace chronos::ops
