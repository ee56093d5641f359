#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "chronos/base/result.h"
#include "chronos/ops/mount/instant.h"
#include "chronos/os/file.h"

/// What a directory that is not whole notes of itself, seen without anything mounted over it.
namespace chronos::ops::mount {

struct InstantNote {
    InstantOrigin origin;
    std::uint64_t id = 0;
    std::string line_for_now;  ///< of postgresql.auto.conf, until it is whole; "" for none
};

enum class InstantStage {
    none,        ///< nothing of it says that it was ever left incomplete
    unfinished,  ///< its restore has not come to its end
    missing,     ///< it is not whole
    whole,       ///< it is, and still has what was noted for it
    given_up     ///< it never will be
};

/// Nothing is mounted over the directory.
InstantStage instant_stage(const std::string& pg_path);
std::string instant_state_path(const std::string& pg_path);
Result<InstantNote> read_instant_note(const std::string& pg_path);
/// Nobody serves the directory, nor will as long as the descriptor is open. Kinds: lock_acquire if
/// somebody does, file_open. `anew`: also where what is locked has gone, as who died in
/// settle_whole() has left it.
Result<os::FileDescriptor> lock_instant(const std::string& pg_path, bool anew = false);

/// Takes back what a whole directory had for as long as it was not. Whoever is interrupted in that
/// leaves it to be done again. Kinds: file_*, path_*, format.
Result<> settle_whole(const std::string& pg_path);

/// The same where no process need serve it any more, also while one that has does so.
Result<> settle_unserved(const std::string& pg_path);

/// The postmaster that runs in the directory, whatever serves it; 0 if there is none.
pid_t server_of(const std::string& path);
/// Of the hold that keeps the backup of a directory.
std::string hold_id_of(std::uint64_t id);

}  // namespace chronos::ops::mount
