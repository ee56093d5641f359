#include "cli/per_repository.h"

#include <nlohmann/json.hpp>

#include "chronos/base/log.h"
#include "cli/log_output.h"

namespace chronos::cli {

std::vector<unsigned> lock_keys(const config::Config& config) {
    if (config.has("repo")) return {static_cast<unsigned>(config.get_int("repo"))};
    return config.repo_keys();
}

Result<> report_failures(const std::string& command,
                         const std::vector<std::pair<unsigned, Error>>& failures) {
    for (const auto& [key, failure] : failures)
        log(LogLevel::error, error_text(Error(failure).while_doing("repo" + std::to_string(key))));
    if (failures.empty()) return {};
    return Error(ErrorKind::command, command + " command encountered " +
                                         std::to_string(failures.size()) +
                                         " error(s), check the log file for details");
}

Result<> print_json(const nlohmann::json& value) {
    return print(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace chronos::cli
