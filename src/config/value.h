#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "chronos/base/result.h"
#include "config/option_table.h"

namespace chronos::config {

/// Sign and decimal digits.
std::optional<std::int64_t> parse_integer(std::string_view text);
/// "128MiB" in bytes; units are powers of 1024 whatever they are called.
std::optional<std::uint64_t> parse_size(std::string_view text);
/// "1m" in milliseconds; seconds without a unit.
std::optional<std::chrono::milliseconds> parse_time(std::string_view text);

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
