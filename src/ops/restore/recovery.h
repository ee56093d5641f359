#pragma once

#include <string>
#include <vector>

#include "chronos/ops/restore/restore.h"
#include "ops/restore/ownership.h"

namespace chronos::ops::restore {

struct RecoverySetting {
    std::string name;
    std::string literal;     ///< what stands between the quotes in the file
    bool set_aside = false;  ///< only there to keep what the cluster says out of the recovery
};

/// What is written for this recovery; every setting that has a say in where it ends is among it.
std::vector<RecoverySetting> recovery_setting_list(const RestoreRequest& request,
                                                   const RestorePlan& plan);

/// The generated block with its heading (docs/format/restore.md, Recovery settings), ending in a
/// line feed. `time` is local time as "2026-11-20 08:15:17".
std::string recovery_settings(const RestoreRequest& request, const RestorePlan& plan,
                              const std::string& time);

/// postgresql.auto.conf as the next restore begins with it: without what a former one set aside, or
/// set for its own recovery.
std::string without_set_aside(const std::string& existing);

/// postgresql.auto.conf with recovery targets of former restores commented out, what they set aside
/// taken out, and `block` appended (nothing for "").
std::string updated_auto_conf(const std::string& existing, const std::string& block,
                              const std::string& time);

/// Writes settings and signal files as the recovery type and the version want them.
Result<> write_recovery_files(const RestoreRequest& request, const RestorePlan& plan,
                              const Ownership& ownership, bool sync);

}  // namespace chronos::ops::restore
