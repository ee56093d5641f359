#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "chronos/repo/info.h"

namespace chronos::repo {

/// Where the WAL of a cluster can lie, as its identity stands in a manifest or in a control file:
/// every entry of the history with its version and system identifier, for a stanza may have left a
/// cluster and come back to it. The one with `history_id` (of a backup of the same repository; 0 if
/// there is none) is first: what was archived when the backup was made is there; then the newest
/// come first. Of other ids than these nothing may be read for it.
std::vector<HistoryEntry> archives_of(const std::vector<HistoryEntry>& history,
                                      std::string_view version, std::uint64_t system_id,
                                      std::uint64_t history_id = 0);

}  // namespace chronos::repo
