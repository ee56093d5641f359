#pragma once

#include <cstdint>
#include <string>

#include "chronos/repo/manifest.h"

namespace chronos::repo {

/// How much of a backup can be had in parts, for whoever wants a page and not the cluster. A file
/// is fetched in parts if it is in blocks, and at once if it is so small that there is no less to
/// fetch, which nearly all in bundles are. Any other is fetched whole before its first byte is
/// there: a compressed one cannot be read in its middle, and of one that is not compressed nothing
/// but the SHA-1 of all of it says that what was read is right. Source:
/// docs/format/bundles-and-blocks.md.
struct RandomAccess {
    std::uint64_t in_parts_bytes = 0;  ///< of content, as all here
    std::uint64_t whole_bytes = 0;
    std::string largest_whole;  ///< name of a file of the cluster; "" if none is fetched whole
    std::uint64_t largest_whole_bytes = 0;

    void add(const ManifestFile& file);
    std::uint64_t size_bytes() const { return in_parts_bytes + whole_bytes; }
    /// 100 is all of it, and nothing less.
    unsigned percent() const;
};

/// The largest file for which no less than the file need be fetched: what a bundle takes as usual.
inline constexpr std::uint64_t kSmallFileMax = std::uint64_t{2} << 20;

RandomAccess random_access(const Manifest& manifest);

/// "98% (412.3MB of 420.1MB); largest file fetched whole: base/5/16384, 1GB", for people.
std::string random_access_text(const RandomAccess& access);

}  // namespace chronos::repo
