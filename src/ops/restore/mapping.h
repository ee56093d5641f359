#pragma once

#include <string>
#include <vector>

#include "chronos/ops/restore/restore.h"

namespace chronos::ops::restore {

/// Moves the manifest in `plan` to the destinations of this restore: data directory, tablespaces,
/// links (docs/format/restore.md, Mapping). Kinds tablespace_map, link_map, link_destination.
Result<> map_manifest(const RestoreRequest& request, RestorePlan& plan);

/// A directory that the restore fills, or the directory of a file behind a link.
struct Destination {
    std::string name;  ///< manifest name of the directory; of the link for a file
    std::string path;  ///< absolute
    std::string file;  ///< file links: the name in `path`
};
std::vector<Destination> destinations_of(const repo::Manifest& manifest);

/// "PG_15_202209061": the directory of this cluster in a tablespace. Others there belong to other
/// major versions that share it.
std::string version_directory_of(const repo::Manifest& manifest);

/// What the cluster in `pg_path` has in tablespaces that the backup does not have.
std::vector<Destination> other_tablespaces(const repo::Manifest& manifest,
                                           const std::string& pg_path);

/// Where a file or directory of the (mapped) manifest lies, through the links in the data
/// directory.
std::string path_of(const repo::Manifest& manifest, std::string_view name);

/// The path of the data directory in the manifest.
const std::string& data_directory(const repo::Manifest& manifest);

}  // namespace chronos::ops::restore
