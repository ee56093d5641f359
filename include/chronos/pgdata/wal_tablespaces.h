#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "chronos/base/lsn.h"
#include "chronos/io/stream.h"

namespace chronos::pgdata {

/// A tablespace that a server makes when it replays this record: at the location that the cluster
/// had for it, whatever has become of the tablespaces of the backup.
struct TablespaceCreation {
    Lsn begin;   ///< of the record
    Lsn before;  ///< where the record before it begins: recovery up to there does without
    std::uint32_t oid = 0;
    std::string location;

    bool operator==(const TablespaceCreation&) const = default;
};

/// No record of one is larger: it has a path.
inline constexpr std::size_t kTablespaceRecordMax = 4096;

/// nullopt if the record is another one, or damaged. Source: docs/format/cluster-files.md, WAL
/// pages.
std::optional<TablespaceCreation> parse_tablespace_creation(io::Bytes record, Lsn begin);

/// What the server would write to that is not of the data directory `pg_path`: the directory
/// `version_directory` ("PG_15_202209061") at the location, if there is one that `pg_path` does not
/// lead to; "" if nothing. Such a directory is another cluster's, or was this one's in a life that
/// the recovery does not lead to: PostgreSQL replays into its files, whatever they hold. `pg_path`
/// may be "": then nothing leads there.
std::string in_the_way_of(const TablespaceCreation& creation, const std::string& version_directory,
                          const std::string& pg_path);

/// Whether it lies outside of every data directory, which allow_in_place_tablespaces does not.
bool is_elsewhere(const TablespaceCreation& creation);

}  // namespace chronos::pgdata
