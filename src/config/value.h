#pragma once

#include <string>
#include <string_view>

#include "chronos/base/result.h"
#include "config/option_table.h"

namespace chronos::config {

/// Relative to the working directory, as the shell means it: the name goes into restore_command,
/// which runs elsewhere.
std::string absolute_file(std::string_view text);

/// The text as it is kept: a path loses its trailing slash. Fails as pgBackRest does; a hint says
/// what would be accepted. `name` has its index.
Result<std::string> check_value(const Option& option, const std::string& name, CommandId command,
                                std::string_view text);

/// The value for listings, logs and messages: "<redacted>" where it is, or may have in it, a
/// secret, and of the setting primary_conninfo all behind its name.
std::string shown_value(const Option& option, std::string_view text);

}  // namespace chronos::config
