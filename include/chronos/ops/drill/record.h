#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "chronos/ops/drill/drill.h"

/// What is written down of a drill: JSON, whose members docs/drills.md has. Where it lies, and
/// under which name: include/chronos/repo/side/drill.h.
namespace chronos::ops::drill {

/// Of a report; what is stored is that of without_answers().
nlohmann::json record_of(const DrillReport& report, const std::string& reason);

/// One that was stored, of whatever release, without what the cluster has answered; null if it is
/// no JSON object.
nlohmann::json parse_record(std::string_view text);

}  // namespace chronos::ops::drill
