#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

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

/// Remembers which file systems are written to, so that one syncfs() per file system can take the
/// place of an fsync() per file, where there are many.
///
/// Why that is as durable: syncfs() writes all dirty data and metadata of the file system and
/// flushes the device, which is what fsync() does for one file. What fsync() adds is the report of
/// a write-back that failed earlier: syncfs() reports every such failure since its descriptor was
/// opened. Therefore the descriptor is opened *before* the first write and kept. It even sees a
/// failure on a file whose inode has since been dropped from memory, which an fsync() through a
/// later descriptor would miss. A failure that belongs to somebody else's file on the same file
/// system is reported as well: that errs on the safe side.
///
/// Only file systems known to keep that promise count as covered (durable.cpp has the table); files
/// on others are synced one by one.
class FileSystems {
public:
    /// Whether sync() covers what is written from now on in `directory`, which lies on `device`.
    /// Kind path_open.
    Result<bool> watch(dev_t device, const std::string& directory);
    /// The same, looking for the device.
    Result<bool> watch(const std::string& directory);
    /// Everything written to the covered file systems is durable. Errors are of kind path_sync and
    /// last.
    Result<> sync();

private:
    struct Watched {
        std::string directory;  ///< for messages
        FileDescriptor fd;      ///< opened before the first write
        bool covered = false;
    };
    std::vector<const Watched*> covered();

    std::mutex mutex_;
    std::map<dev_t, Watched> watched_;  ///< entries are never removed, so pointers to them last
    std::mutex sync_mutex_;  ///< held while syncing, so that no failure gets past failed_
    std::optional<Error> failed_;
};

}  // namespace chronos::os
