#pragma once

#include <string>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::ops::restore {

/// Makes everything that was written below some directories durable at once.
///
/// One syncfs() of each file system in place of one fsync() of each file: nothing of a restore is
/// of use before all of it is there, and what makes it usable - the rename of global/pg_control -
/// happens only after sync() has returned, so that a power failure at any moment leaves either a
/// directory that cannot be started or a whole cluster. Since Linux 5.8 syncfs() reports write
/// errors that happened since its descriptor was opened, which is why an object is made before
/// anything is written. Where that does not hold (older kernels, file systems that do not write
/// everything for it) per_file() is true: each file must be synced when it is closed, and sync()
/// syncs `directories`.
class Barrier {
public:
    static Result<Barrier> open(const std::vector<std::string>& roots);
    ~Barrier();
    Barrier(Barrier&& other) noexcept;
    Barrier(const Barrier&) = delete;
    Barrier& operator=(const Barrier&) = delete;

    bool per_file() const { return per_file_; }
    /// `directories`: all that entries were made in, used when per_file().
    Result<> sync(const std::vector<std::string>& directories) const;

private:
    Barrier() = default;
    struct FileSystem {
        int descriptor = -1;
        std::string path;
    };
    std::vector<FileSystem> file_systems_;  ///< one directory on each
    bool per_file_ = false;
};

/// fsync() of a file or directory.
Result<> sync_path(const std::string& path);

}  // namespace chronos::ops::restore
