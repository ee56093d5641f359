#include "pgdata/versions.h"

#include <algorithm>
#include <array>

#include "chronos/pgdata/version_numbers.h"

namespace chronos::pgdata {
namespace {

constexpr ControlLayout kUnknown{};
constexpr ControlLayout kControl11{208, 220, 244, 136, 176, 0, 280};
constexpr ControlLayout kControl12{216, 228, 252, 144, 180, 64, 288};  // the same until 17
constexpr ControlLayout kControl18{216, 228, 252, 144, 180, 64, 292};
constexpr ControlLayout kControl19{224, 240, 268, 152, 188, 72, 308};

constexpr std::array kVersions = {
    Version{"9.6", 9, 0xD093, 960, 201608131, kUnknown},
    Version{"10", 10, 0xD097, 1002, 201707211, kUnknown},
    Version{"11", 11, 0xD098, 1100, 201809051, kControl11},
    Version{"12", 12, 0xD101, 1201, 201909212, kControl12},
    Version{"13", 13, 0xD106, 1300, 202007201, kControl12},
    Version{"14", 14, 0xD10D, 1300, 202107181, kControl12},
    Version{"15", 15, 0xD110, 1300, 202209061, kControl12},
    Version{"16", 16, 0xD113, 1300, 202307071, kControl12},
    Version{"17", 17, 0xD116, 1700, 202406281, kControl12},
    Version{"18", 18, 0xD118, 1800, 202506291, kControl18},
    Version{"19", 19, 0xD122, 1905, 202610061, kControl19, 128},
};

}  // namespace

std::span<const Version> versions() {
    return kVersions;
}

const Version* find_version(std::uint32_t control_version, std::uint32_t catalog_version) {
    const Version* only = nullptr;
    std::size_t with_control_version = 0;
    for (const Version& one : kVersions) {
        if (one.control_version != control_version || one.control.crc == 0) continue;
        if (one.catalog_version == catalog_version) return &one;
        only = &one;
        ++with_control_version;
    }
    return with_control_version == 1 && catalog_version > only->catalog_version ? only : nullptr;
}

std::string supported_versions() {
    const auto first =
        std::ranges::find_if(kVersions, [](const Version& one) { return one.control.crc != 0; });
    return std::string(first->name) + " to " + std::string(kVersions.back().name);
}

std::optional<VersionNumbers> version_numbers(std::string_view version) {
    for (const Version& one : kVersions)
        if (one.name == version) return VersionNumbers{one.control_version, one.catalog_version};
    return std::nullopt;
}

}  // namespace chronos::pgdata
