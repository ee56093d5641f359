#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "chronos/ops/drill/drill.h"

namespace chronos::present {

/// The record of a drill (docs/drills.md has its members).
nlohmann::json drill_json(const ops::drill::DrillReport& report, const std::string& reason);

/// One that was stored, of whatever release, without what the cluster has answered; null if it is
/// no JSON object.
nlohmann::json parse_drill_record(std::string_view text);
/// A line per drill of drill_history().
std::string format_drill_history(const nlohmann::json& history);

}  // namespace chronos::present
