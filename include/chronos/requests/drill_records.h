#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "chronos/ops/drill/drill.h"
#include "chronos/requests/context.h"

namespace chronos::requests {

/// Every drill that the repositories know, oldest first, as ops::drill::record_of() made them, with
/// their repository as "stored-in" and name as "record"; `stanza` must not be empty.
Result<nlohmann::json> drill_history(const Context& context);

/// Stores it in the repository that the backup came from. Kind access and others: a repository that
/// may only be read is none to fail for.
Result<std::string> save_drill_record(const Context& context, const ops::drill::DrillReport& report,
                                      const nlohmann::json& record);

}  // namespace chronos::requests
