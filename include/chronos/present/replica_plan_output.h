#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "chronos/flows/replica.h"

namespace chronos::present {

/// That of the restore, and what is known of the primary: for people, each line with a line feed.
std::string format_replica_plan(const flows::ReplicaPlan& plan);
/// restore_plan_object() with a member "primary": docs/replica.md, A plan for programs.
nlohmann::json replica_plan_object(const flows::ReplicaPlan& plan);
/// What the standby does once it is started: a line.
std::string replica_outlook(const flows::ReplicaPlan& plan);

}  // namespace chronos::present
