#pragma once

#include <string>

#include "chronos/ops/info/info.h"

/// What `info` prints, byte for byte that of pgBackRest. Source: docs/format/commands.md, info as
/// JSON.
namespace chronos::present {

/// Each line ends in a line feed; times are in the zone of the process.
std::string format_info_text(const ops::info::InfoReport& report);
/// One line without a line feed.
std::string format_info_json(const ops::info::InfoReport& report);

}  // namespace chronos::present
