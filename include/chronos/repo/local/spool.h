#pragma once

#include <cstdint>
#include <string>

#include "chronos/base/result.h"

/// Where WAL that was fetched ahead waits for the recovery of one data directory.
namespace chronos::repo {

struct SpoolPlace {
    std::string spool_path;  ///< option spool-path
    std::string stanza;
    std::string pg_path;  ///< data directory
};

/// "<spool>/chronos/<stanza>/<system id>-<device>-<inode>-<boot id>" of the data directory; need
/// not exist. WAL of another cluster, or fetched for another directory, is thereby out of reach.
///
/// So is WAL from before the machine was started: nothing in a spool is synced, and after a power
/// failure a file may have its size and its name but not its content.
Result<std::string> spool_directory(const SpoolPlace& place, std::uint64_t system_id);

/// Removes every spool of the data directory, of whatever cluster and start of the machine, and
/// the one of pgBackRest for the stanza, "<spool>/archive/<stanza>": what was fetched for one
/// recovery must not be used in another one. Kind path_remove.
Result<> remove_spools(const SpoolPlace& place);

}  // namespace chronos::repo
