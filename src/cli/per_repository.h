#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/context.h"

/// What commands share that work on several repositories.
namespace chronos::cli {

/// Whose locks to take: of the repository named by --repo, else of all, as pgBackRest does.
std::vector<unsigned> lock_keys(const config::Config& config);

/// Logs each failure; kind `command` if there is one.
Result<> report_failures(const std::string& command,
                         const std::vector<std::pair<unsigned, Error>>& failures);

/// One line of JSON. What comes from a repository need not be UTF-8.
Result<> print_json(const nlohmann::json& value);

}  // namespace chronos::cli
