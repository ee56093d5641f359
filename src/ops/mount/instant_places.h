#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/repo/manifest.h"

namespace chronos::ops::mount {

/// Where a cluster has files that may be left in the backup: in its data directory, behind links
/// to directories that are in there, and in tablespaces, over each of which something is mounted.
struct InstantPlaces {
    InstantPlaces() = default;
    /// As it will be restored. Looks at what is there of it, and changes nothing.
    explicit InstantPlaces(const repo::Manifest& manifest);

    /// Kind feature_not_supported: nothing of it may be left.
    Result<> check() const;
    /// By its name in the manifest whether a file is one of those.
    bool may_leave(std::string_view file) const;
    /// "pg_tblspc/16384", if the file is in that and it is one of these; else "".
    std::string_view tablespace_of(std::string_view file) const;

    std::map<std::string, std::string, std::less<>> tablespaces;  ///< real paths by name
    std::set<std::string, std::less<>> links;                     ///< below the data directory
    /// For people: what else there is, and is restored at once, and why.
    std::vector<std::string> notes;

private:
    std::set<std::string, std::less<>> at_once_;  ///< names of the manifest
};

/// Whether a file there, or one that is made there, can have attributes of its user. What cannot be
/// looked at is taken for one that can.
bool has_user_attributes(const std::string& path);

}  // namespace chronos::ops::mount
