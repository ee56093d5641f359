#pragma once

#include <memory>
#include <string>

#include "chronos/os/durable.h"
#include "chronos/storage/posix/posix_storage.h"
#include "chronos/storage/storage.h"
#include "storage/posix/written_files.h"

namespace chronos::storage {

/// Starts to write the file `path`; missing directories are made, but not `existing`, unless that
/// is "". `file_systems` and `written_files` must outlive the sink. Kinds: file_open, path_create,
/// lock_acquire (transient: another process is writing the same object), then file_write,
/// file_sync, file_close, file_move.
Result<std::unique_ptr<io::Sink>> open_posix_sink(const std::string& path, WriteMode mode,
                                                  const PosixOptions& options,
                                                  const std::string& existing,
                                                  os::FileSystems& file_systems,
                                                  WrittenFiles& written_files);

}  // namespace chronos::storage
