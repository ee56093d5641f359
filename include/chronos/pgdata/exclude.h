#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::pgdata {

/// Fails, kind option_invalid_value, for a value of the option `exclude` that names what a server
/// cannot start or be whole without, and says what that is: no restore of such a backup would be
/// one. By the name alone, so that what is not there yet is not excluded in advance either.
Result<> check_exclude(std::string_view exclude);
/// The first of them that fails.
Result<> check_excludes(const std::vector<std::string>& excludes);

/// A configuration file that the server reads in its data directory: who excludes it has it from
/// elsewhere, and puts it there after a restore.
bool excludes_configuration(std::string_view exclude);

}  // namespace chronos::pgdata
