#pragma once

#include <sys/types.h>

#include <string>

#include "chronos/base/result.h"
#include "chronos/os/file.h"

/// What commands keep on the machine beside cluster and repository: locks, logs, spool. All of it
/// is made here, so that modes and owners do not depend on who happened to be first.
namespace chronos::os {

inline constexpr mode_t kLocalPathMode = 0750;
inline constexpr mode_t kLocalFileMode = 0640;

/// Makes a directory and its missing parents with exactly `mode`, whatever the umask of the
/// process. Kind path_create.
Result<> make_local_path(const std::string& path, mode_t mode = kLocalPathMode);

/// open() with O_CREAT and O_CLOEXEC beside `flags`; a file that this makes has exactly `mode`.
/// Invalid with errno set if it fails, for callers have kinds of their own.
FileDescriptor open_local_file(const std::string& path, int flags, mode_t mode = kLocalFileMode);

/// For a process that stays root, as a restore does: what it has made so far and makes from now on
/// is given to the owner of the directory, as soon as that is there and not root's. The server
/// finds files then that it can use. Nothing to do for others. Any thread, but not two at a time.
void give_local_files_to_owner_of(const std::string& directory);

}  // namespace chronos::os
