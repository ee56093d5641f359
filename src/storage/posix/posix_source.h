#pragma once

#include <memory>
#include <string>

#include "chronos/os/file.h"
#include "chronos/storage/storage.h"

namespace chronos::storage {

/// Opens a regular file for reading. `path` is for the system and for messages. Kinds: not_found
/// (also for a directory, which is no object), file_open; file_read when it is read.
Result<std::unique_ptr<io::Source>> open_posix_source(const std::string& path, const Range& range);

}  // namespace chronos::storage
