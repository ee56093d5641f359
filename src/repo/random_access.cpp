#include "chronos/repo/random_access.h"

#include "chronos/base/text.h"

namespace chronos::repo {

unsigned RandomAccess::percent() const {
    const std::uint64_t size = size_bytes();
    if (whole_bytes == 0) return 100;
    // Divided first: the product of a large cluster and 100 would not fit for long.
    return static_cast<unsigned>(static_cast<long double>(in_parts_bytes) * 100 / size);
}

void RandomAccess::add(const ManifestFile& file) {
    if (file.block_incremental() || file.size <= kSmallFileMax) {
        in_parts_bytes += file.size;
        return;
    }
    whole_bytes += file.size;
    if (file.size <= largest_whole_bytes) return;
    largest_whole_bytes = file.size;
    std::string_view name = file.name.view();
    constexpr std::string_view kData = "pg_data/";
    if (name.starts_with(kData)) name.remove_prefix(kData.size());
    largest_whole = name;
}

RandomAccess random_access(const Manifest& manifest) {
    RandomAccess access;
    for (const ManifestFile& file : manifest.files) access.add(file);
    return access;
}

std::string random_access_text(const RandomAccess& access) {
    std::string text = std::to_string(access.percent()) + "% (" +
                       format_size(access.in_parts_bytes) + " of " +
                       format_size(access.size_bytes()) + ")";
    if (access.largest_whole.empty()) return text;
    return text + "; largest file fetched whole: " + printable(access.largest_whole, SIZE_MAX) +
           ", " + format_size(access.largest_whole_bytes);
}

}  // namespace chronos::repo
