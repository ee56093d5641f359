#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "chronos/ops/windows/windows.h"

namespace chronos::present {

/// Which WAL the stanza's archives hold, what is missing and where one can recover to.
std::string format_wal_report(const ops::windows::Report& report);
nlohmann::json wal_report_json(const ops::windows::Report& report);

}  // namespace chronos::present
