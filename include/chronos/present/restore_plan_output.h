#pragma once

#include <nlohmann/json_fwd.hpp>

#include "chronos/ops/restore/restore.h"

namespace chronos::present {

/// What format_restore_plan() says to people, for programs: docs/recovery.md, A plan for programs.
nlohmann::json restore_plan_object(const ops::restore::RestorePlan& plan);

}  // namespace chronos::present
