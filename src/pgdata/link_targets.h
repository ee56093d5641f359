#pragma once

#include <string>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::pgdata {

/// A link of a data directory and where it leads.
struct LinkTarget {
    std::string name;       ///< relative to PGDATA, for messages
    std::string directory;  ///< absolute; of a link to a file the directory that holds the file
    std::string file;       ///< base name of the file; "" for a link to a directory
};

/// Absolute form of `destination` as stored in the link `link_path`, "." and ".." taken out as
/// text: the way in which pgBackRest sees it, before a backup and when it restores.
std::string absolute_destination(const std::string& link_path, const std::string& destination);

/// Refuses links that would back up the same files twice, or, leading upwards, for ever.
class LinkTargets {
public:
    explicit LinkTargets(std::string pgdata) : pgdata_(std::move(pgdata)) {}
    /// Kind link_destination if `target` lies in PGDATA or meets a link added before.
    Result<> add(LinkTarget target);

private:
    std::string pgdata_;
    std::vector<LinkTarget> targets_;
};

}  // namespace chronos::pgdata
