#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::pgdata {

/// Collects what this process may not read, so that one error names all of it before the first byte
/// is copied.
class Unreadable {
public:
    Unreadable();
    /// An entry that is about to be listed. Costs no system call where mode and owner permit
    /// reading, as they do for all files of a sane cluster and the user whose it is.
    void judge(int directory_fd, const std::string& file_name, const std::string& path,
               const struct stat& stat);
    /// One that has turned out to be unreadable. `stat` is nullptr where not even that is known.
    void add(const std::string& path, const struct stat* stat);
    /// Fails if there was any.
    Result<> verdict() const;

private:
    bool mode_permits(const struct stat& stat) const;

    uid_t user_;
    std::vector<gid_t> groups_;
    std::vector<std::string> shown_;  ///< the first ones, ready for the message
    std::size_t count_ = 0;
    bool has_files_ = false;
};

}  // namespace chronos::pgdata
