#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/owner_name.h"
#include "chronos/base/result.h"
#include "chronos/base/shared_text.h"

namespace chronos::pgdata {

/// What the list of a cluster's files is made from.
struct ClusterListRequest {
    std::string pgdata;                ///< absolute
    std::string tablespace_directory;  ///< "PG_15_202209061"
    unsigned major = 15;
    bool online = true;                ///< leaves out the contents of pg_wal
    std::vector<std::string> exclude;  ///< the `exclude` option, relative to PGDATA
};

struct ClusterEntry {
    SharedText name;  ///< manifest name: "pg_data/base/5/1259", "pg_tblspc/16387/..."
    std::uint64_t size = 0;
    UnixTime timestamp = 0;
    mode_t mode = 0;
    OwnerName user;
    OwnerName group;
};

struct ClusterLink {
    std::string name;         ///< "pg_data/pg_stat"; tablespaces "pg_data/pg_tblspc/16387"
    std::string destination;  ///< as stored in the link
    bool to_file = false;
    std::uint32_t tablespace_oid = 0;  ///< 0: not a tablespace
    OwnerName user;
    OwnerName group;
};

/// Everything a backup holds, each list sorted by name (bytewise).
struct ClusterList {
    std::vector<ClusterEntry> files;
    std::vector<ClusterEntry> paths;  ///< includes the dummy "pg_tblspc" when there are tablespaces
    std::vector<ClusterLink> links;
};

/// Walks a data directory by the rules of the repository-format reference, section 6.11; exclusions
/// and special files are logged. Kinds link_expected, link_destination, file_open as there.
Result<ClusterList> list_cluster(const ClusterListRequest& request);

/// Whether the page checksums of a file are checked (section 6.12).
bool has_page_checksums(std::string_view manifest_name);
/// Files that are read only up to the size seen in the list (section 6.13); of others, all.
bool reads_to_listed_size(std::string_view manifest_name);
/// Number of the first block of a relation segment file: ".N" x pages per 1 GiB.
std::uint64_t first_block_of(std::string_view manifest_name, std::uint32_t page_size);
/// Whether a name lies directly in a database directory (global, base/N, tablespace/.../N).
bool in_database_directory(std::string_view manifest_name);

}  // namespace chronos::pgdata
