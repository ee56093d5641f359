#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chronos/repo/info.h"
#include "ops/repair/plan.h"

namespace chronos::ops::repair {

/// A directory archive/<stanza>/<archive id>.
struct FoundArchive {
    std::string id;  ///< "15-1"
    std::string version;
    std::uint64_t history_id = 0;
    bool has_wal = false;
    /// As the header of its first segment says; none if there is no segment, or none that can be
    /// read without a passphrase.
    std::optional<std::uint64_t> system_id;
};

/// Ascending by history id. Segments are read only with `read_headers`.
Result<std::vector<FoundArchive>> find_archive_ids(const Place& place, bool read_headers);

}  // namespace chronos::ops::repair
