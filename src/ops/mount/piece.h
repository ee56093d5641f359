#pragma once

#include <cstdint>
#include <string_view>

namespace chronos::ops::mount {

/// A part of what a file of the backup has in it, and where.
struct Piece {
    std::uint64_t offset = 0;
    std::string_view content;
};

}  // namespace chronos::ops::mount
