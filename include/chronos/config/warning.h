#pragma once

#include <string_view>

namespace chronos::config {

/// Stands in a warning of what is wrong for certain, although the command at hand does not read it.
inline constexpr std::string_view kWillRefuse = "will refuse it";

}  // namespace chronos::config
