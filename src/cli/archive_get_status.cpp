#include "cli/archive_get_status.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "chronos/base/error.h"

namespace chronos::cli {
namespace {

constexpr int kMissing = 1;
constexpr int kStopRecovery = 200;
constexpr int kTerminated = 143;

bool is_usage_error(int status) {
    static constexpr std::array kUsage{
        ErrorKind::config,
        ErrorKind::format,
        ErrorKind::command_required,
        ErrorKind::option_invalid,
        ErrorKind::option_invalid_value,
        ErrorKind::option_required,
        ErrorKind::param_required,
        ErrorKind::command_invalid,
        ErrorKind::param_invalid,
    };
    return std::find(kUsage.begin(), kUsage.end(), static_cast<ErrorKind>(status)) != kUsage.end();
}

/// PostgreSQL runs its restore_command in the data directory.
bool in_data_directory() {
    return access("global/pg_control", F_OK) == 0;
}

}  // namespace

int archive_get_status(std::span<char* const> arguments, int status) {
    const bool is_get = std::any_of(arguments.begin(), arguments.end(), [](const char* argument) {
        // Prefixes of command names are understood too.
        return std::string_view(argument).starts_with("archive-g");
    });
    if (!is_get || status == 0 || status == kMissing || status > 125) return status;
    if (status == static_cast<int>(ErrorKind::cancelled)) return kTerminated;
    if (is_usage_error(status) && !in_data_directory()) return status;
    return kStopRecovery;
}

}  // namespace chronos::cli
