#pragma once

#include <string_view>
#include <vector>

#include "chronos/pgdata/wal.h"

namespace chronos::pgdata {

/// The content of the history file of `timeline`, which says where it comes from: kind format for
/// what is none, is that of another timeline, or has a number that no server would have chosen and
/// that none could go on from.
Result<std::vector<TimelineSwitch>> parse_history_of(Timeline timeline, std::string_view text);

}  // namespace chronos::pgdata
