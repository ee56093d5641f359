#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace chronos::pgdata {

/// What every released cluster of a major version has in its control file.
struct VersionNumbers {
    std::uint32_t control_version = 0;
    std::uint32_t catalog_version = 0;
};
/// `version` is "15" or "9.6"; nullopt if it is none we know.
std::optional<VersionNumbers> version_numbers(std::string_view version);

}  // namespace chronos::pgdata
