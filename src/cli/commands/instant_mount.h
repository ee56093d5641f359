#pragma once

#include <string>

#include "chronos/ops/mount/instant.h"
#include "chronos/requests/context.h"

namespace chronos::cli {

/// What options say of how a directory is served; repository and path are the caller's.
ops::mount::InstantRequest instant_mount(const requests::Context& context);
/// How the directory is served by a process that is kept: what is done when that serves it is the
/// caller's.
ops::mount::KeepRequest instant_keeping(const requests::Context& context, const std::string& path);

}  // namespace chronos::cli
