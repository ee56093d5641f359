#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "chronos/base/result.h"
#include "chronos/os/file.h"

namespace chronos::storage {

/// Remembers the files that were written, as long as they are few, so that they can be synced one
/// by one at the end. syncfs() would also wait for what everybody else writes on the file system,
/// which beside a busy server takes longer than a small backup. Any thread.
///
/// Each file is synced through the descriptor it was written with: that one sees every failure of
/// its write-back, which a later one need not.
class WrittenFiles {
public:
    static constexpr std::size_t kCountMax = 128;

    /// `file`: finished, and still to be synced; not valid if it is durable already. Beyond
    /// kCountMax nothing is remembered any more until clear().
    void add(const std::string& path, os::FileDescriptor file);

    /// Makes the content of all files below `directory` durable. False, and nothing is done, if
    /// there are others than those remembered, or too many. An error is of kind file_sync and
    /// last: the kernel reports a failure once.
    Result<bool> sync_below(const std::string& directory);

    void clear();

    /// What is removed, a file or a directory with all below it, need not be kept open.
    void forget(const std::string& path);

private:
    bool knows_all_below(const std::string& directory) const;

    std::mutex mutex_;
    std::map<std::string, os::FileDescriptor> files_;
    bool too_many_ = false;
    std::optional<Error> failed_;
};

}  // namespace chronos::storage
