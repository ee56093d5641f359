#pragma once

#include <string>

namespace chronos::pgdata {

/// A file in a data directory whose server is to write nowhere else, whatever its WAL asks for:
/// that of a drill.
inline constexpr const char* kScratchSignal = "chronos_scratch.signal";

/// The data directory that a path is in, or is; "" if it is in none: by PG_VERSION and
/// global/pg_control of each ancestor of its real path (of its nearest existing ancestor, where it
/// does not exist). What this process may not look into is taken for none.
std::string data_directory_around(const std::string& path);

}  // namespace chronos::pgdata
