#pragma once

#include <string>
#include <vector>

#include "chronos/repo/repository.h"

namespace chronos::repo {

/// A directory of a cluster and what it is, for messages: "data directory", "tablespace 16385".
struct Place {
    std::string what;
    std::string path;  ///< absolute; need not exist
};

/// The data directory and what its links lead to: tablespaces, pg_wal, ...; those that exist.
std::vector<Place> cluster_places(const std::string& pg_path);

/// Whether `path` is `directory` or lies below it, whatever links and mounts lead there. Neither
/// need exist.
bool lies_in(const std::string& path, const std::string& directory);

/// A repository in a directory of the cluster is part of what it holds, and a restore deletes it
/// before it is read; a cluster below a repository is in the way of what is stored there. Kind
/// option_invalid_value; nothing to say about repositories that are no directory.
Result<> check_repository_place(const Repository& repository, const std::vector<Place>& places);

}  // namespace chronos::repo
