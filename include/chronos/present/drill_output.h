#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace chronos::present {

/// A line per drill of drill_history().
std::string format_drill_history(const nlohmann::json& history);

}  // namespace chronos::present
