#pragma once

#include <string>
#include <vector>

#include "chronos/config/config.h"
#include "chronos/ops/health/alert.h"
#include "chronos/ops/health/health.h"
#include "chronos/present/health_view.h"
#include "chronos/repo/repository.h"

/// Looking at health as the configuration says.
namespace chronos::requests {

ops::health::Limits limits_of(const config::Config& config);
/// Whom the options alert-* name.
ops::health::AlertSettings alert_settings(const config::Config& config);

/// Repositories with what our own tools have recorded in them. `last_archived`: as
/// ops::health::look_at_repositories has it; whoever can ask the server asks it before.
ops::health::Snapshot look_at_configured_repositories(
    const config::Config& config, const std::vector<repo::Repository>& repositories,
    ops::health::WalMemory& memory, const std::string& last_archived = "");
std::vector<present::RunningBackup> look_for_running_backups(
    const config::Config& config, const std::vector<repo::Repository>& repositories);
/// Of the stanza, on this machine. Takes some seconds where one does not answer.
std::vector<present::CompletingRestore> look_for_completing_restores(const config::Config& config);

}  // namespace chronos::requests
