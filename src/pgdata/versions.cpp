#include "pgdata/versions.h"

#include <array>

#include "chronos/pgdata/version_numbers.h"

namespace chronos::pgdata {
namespace {

constexpr ControlLayout kUnknown{};
constexpr ControlLayout kControl11{208, 220, 244, 136, 280};
constexpr ControlLayout kControl12{216, 228, 252, 144, 288};  // the same until 17
constexpr ControlLayout kControl18{216, 228, 252, 144, 292};

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
};

}  // namespace

std::span<const Version> versions() {
    return kVersions;
}

std::optional<VersionNumbers> version_numbers(std::string_view version) {
    for (const Version& one : kVersions)
        if (one.name == version) return VersionNumbers{one.control_version, one.catalog_version};
    return std::nullopt;
}

}  // namespace chronos::pgdata
