#pragma once

#include <string>

#include "chronos/flows/look.h"
#include "chronos/ops/drill/drill.h"
#include "chronos/ops/mount/scratch_mount.h"
#include "chronos/ops/restore/restore.h"
#include "chronos/requests/context.h"

namespace chronos::cli {

/// What drills and looks have in common: the server, without questions to it.
ops::drill::DrillRequest scratch_server(const requests::Context& context);

/// A mount for that server, but for repository and places.
ops::mount::ScratchMountRequest scratch_mount(const requests::Context& context);

/// The restore that the options say, with the WAL for a data directory and a spool elsewhere.
Result<ops::restore::RestoreRequest> scratch_restore(const requests::Context& context,
                                                     const std::string& pg_path,
                                                     const std::string& spool_path);

/// A server on a mounted backup, with both of them; the context outlives it.
flows::LookRequest scratch_look(const requests::Context& context);

/// ops::mount::keep_mounts_to_myself() of a command that needs a mount; where there can be none the
/// hint says what goes without.
Result<> keep_mounts_to_myself();

/// Kind option_invalid_value for a recovery that has no end; `what` is "a drill".
Result<> check_scratch_type(const requests::Context& context, const std::string& what);

}  // namespace chronos::cli
