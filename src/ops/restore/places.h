#pragma once

#include "chronos/repo/manifest.h"

namespace chronos::ops {

/// Whether everything that the manifest lists lies below its own destinations: a backup may come
/// from anywhere, and root restores it. Names are plain paths below the data directory or a
/// tablespace's directory of this version, each is there once, and a link leads to where a target
/// says, which is what the plan shows. Kind format, with the name.
Result<> check_places(const repo::Manifest& manifest);

/// Takes away what no file of a cluster needs and what would give away more than it contains:
/// setuid, setgid and sticky bits.
void bound_modes(repo::Manifest& manifest);

}  // namespace chronos::ops
