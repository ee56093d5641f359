#pragma once

#include <string>
#include <utility>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::present {

/// What went wrong in some of several repositories, by their keys: logs each failure; kind
/// `command` if there is one.
Result<> report_failures(const std::string& command,
                         const std::vector<std::pair<unsigned, Error>>& failures);

}  // namespace chronos::present
