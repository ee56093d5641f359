#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::ops::archive {

/// Names of the files that are ready to be archived, in the order in which the archiver asks for
/// them: timeline history first, then bytewise. At most `count_max`: memory does not grow with the
/// backlog. Source: docs/server.md, 1.6 Which file next.
Result<std::vector<std::string>> list_ready_files(const std::string& wal_path,
                                                  std::size_t count_max);

/// Whether the archiver can ask for a file of that name: segment, partial, backup or timeline
/// history.
bool is_archivable_name(std::string_view name);

}  // namespace chronos::ops::archive
