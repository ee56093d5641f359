#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace chronos::present {

/// On one line, or indented by so many blanks. Names on a file system need not be UTF-8, and a
/// report must not fail on one.
std::string text_of(const nlohmann::json& value, int indent = -1);

nlohmann::json text_or_null(const std::string& text);

}  // namespace chronos::present
