#pragma once

#include <cstdint>
#include <set>
#include <string_view>

#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// The databases whose files are restored as zeros (docs/format/restore.md, Selective restore).
/// Kinds db_missing, db_invalid.
Result<std::set<std::uint32_t>> databases_to_zero(const RestoreRequest& request,
                                                  const repo::Manifest& manifest);

/// Whether a file belongs to one of them; PG_VERSION never does, so that the database can be
/// dropped.
bool is_zeroed(const std::set<std::uint32_t>& databases, std::string_view file_name);

}  // namespace chronos::ops::restore
