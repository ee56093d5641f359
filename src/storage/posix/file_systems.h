#pragma once

#include <sys/types.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/os/file.h"

namespace chronos::storage {

/// Remembers which file systems are written to, so that one syncfs() per file system can take the
/// place of an fsync() per file, where there are many (WrittenFiles). Any thread.
///
/// Why that is as durable: syncfs() writes all dirty data and metadata of the file system and
/// flushes the device, which is what fsync() does for one file. What fsync() adds is the report of
/// a write-back that failed earlier: since Linux 5.8 syncfs() reports every such failure since its
/// descriptor was opened. Therefore the descriptor is opened *before* the first write and kept. It
/// even sees a failure on a file whose inode has since been dropped from memory, which an fsync()
/// through a later descriptor would miss. A failure that belongs to somebody else's file on the
/// same file system is reported as well: that errs on the safe side.
///
/// Only file systems known to keep that promise count as covered; stacked and network file
/// systems (overlayfs, FUSE) do not all pass the failures up, so their files are synced one by one.
class FileSystems {
public:
    /// Whether sync() covers what is written from now on in `directory`, which lies on `device`.
    Result<bool> watch(dev_t device, const std::string& directory);
    /// Everything written to the covered file systems is durable. Errors are of kind path_sync and
    /// last: the kernel reports a failure once, and it is not known whose data was lost.
    Result<> sync();

private:
    struct Watched {
        std::string directory;  ///< for messages
        os::FileDescriptor fd;  ///< opened before the first write
        bool covered = false;
    };
    std::vector<const Watched*> covered();

    std::mutex mutex_;
    std::map<dev_t, Watched> watched_;  ///< entries are never removed, so pointers to them last
    std::mutex sync_mutex_;  ///< held while syncing, so that no failure gets past failed_
    std::optional<Error> failed_;
};

}  // namespace chronos::storage
