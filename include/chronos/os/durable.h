#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "chronos/base/result.h"
#include "chronos/os/file.h"

/// What survives a power failure: docs/design/durability.md. A failure to sync is final: the kernel
/// reports it once, and whose data was lost is not known. Any thread.
namespace chronos::os {

/// The directory that holds `path`.
std::string parent_directory(const std::string& path);

/// Content and attributes of an open file; `path` is for messages. Kind file_sync.
Result<> sync_file(int fd, const std::string& path);
/// The names in a directory. Kinds path_open, path_sync.
Result<> sync_directory(const std::string& path);
/// The same of one that is open. Kind path_sync.
Result<> sync_directory(int fd, const std::string& path);

/// Lets the device begin with a part of the file, so that the sync at the end finds less to do. A
/// hint: its failures show there.
void start_write_back(int fd, std::uint64_t from_bytes, std::uint64_t until_bytes);

/// Kind file_move.
Result<> rename_file(const std::string& from, const std::string& to);
/// A file whose content is durable gets its name, for good. Kinds file_move, path_open, path_sync.
Result<> publish(const std::string& temporary, const std::string& path);

}  // namespace chronos::os
