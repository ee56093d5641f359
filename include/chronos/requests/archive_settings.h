#pragma once

#include <string>

#include "chronos/ops/archive/dropped.h"
#include "chronos/ops/archive/get.h"
#include "chronos/ops/archive/push.h"
#include "chronos/requests/context.h"

namespace chronos::requests {

Result<ops::archive::PushSettings> archive_push_settings(const config::Config& config);
ops::archive::DropSettings archive_drop_settings(const config::Config& config);
Result<ops::archive::GetSettings> archive_get_settings(const config::Config& config);

/// A path as archive_command and restore_command give it. A relative one counts from the data
/// directory, and only there: kinds option_required, option_invalid_value. Source:
/// docs/format/wal-archive.md, archive-push, step 2.
Result<std::string> resolve_wal_path(const config::Config& config, const std::string& path);

/// The last component.
std::string base_name(const std::string& path);

}  // namespace chronos::requests
