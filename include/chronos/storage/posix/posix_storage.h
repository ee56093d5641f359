#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "chronos/storage/storage.h"

namespace chronos::storage {

/// Modes of what a repository holds; the process umask does not narrow them when neutral_umask.
struct PosixOptions {
    mode_t file_mode = 0640;
    mode_t path_mode = 0750;
    bool neutral_umask = true;
};

/// A directory tree below `root` (absolute). Temporary names end in ".pgbackrest.tmp", which
/// readers of the format ignore; list() and list_tree() leave them out.
std::unique_ptr<Storage> make_posix_storage(std::string root, PosixOptions options = {});

}  // namespace chronos::storage
