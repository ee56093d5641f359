#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
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
    bool online = true;  ///< leaves out the contents of pg_wal
    /// Keeps all of unlogged relations, which else are left out but for what they begin with.
    bool unlogged = false;
    std::vector<std::string> exclude;  ///< the `exclude` option, relative to PGDATA
    /// Fails for a manifest name that cannot be stored: what has it is left out. Null: all can be.
    std::function<Result<>(std::string_view manifest_name)> judge_name;
    /// The oids of the catalog's tablespaces, asked for once the entries of pg_tblspc are known; an
    /// entry that is none of them is left out. Null: whatever looks like a tablespace is one.
    std::function<Result<std::vector<std::uint32_t>>()> tablespaces;
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

/// What lies in the cluster's directories and is not in the list, though nobody asked for that.
struct LeftOut {
    std::string path;    ///< as the file system has it: any bytes
    std::string reason;  ///< "it is not named by the oid of a tablespace"
};

/// Everything a backup holds, each list sorted by name (bytewise).
struct ClusterList {
    std::vector<ClusterEntry> files;
    std::vector<ClusterEntry> paths;  ///< includes the dummy "pg_tblspc" when there are tablespaces
    std::vector<ClusterLink> links;
    std::vector<LeftOut> left_out;  ///< for the caller to tell about
};

/// Walks a data directory by the rules of docs/format/cluster-files.md, What is backed up;
/// exclusions and special files are logged. Kinds link_destination and file_open as there. What
/// this process may not read fails the list, all of it named in one error: kind path_open if it is
/// directories only, else file_open.
Result<ClusterList> list_cluster(const ClusterListRequest& request);

/// Directories that a file system has for itself ("lost+found", snapshots): they are nobody's
/// content, wherever the root of a file system is part of a cluster.
bool belongs_to_file_system(std::string_view file_name);

/// Whether the page checksums of a file are checked (docs/format/cluster-files.md, Page checksums).
bool has_page_checksums(std::string_view manifest_name);
/// Of these no more than was listed is read: docs/format/cluster-files.md, Reading single files.
bool reads_to_listed_size(std::string_view manifest_name);
/// Number of the first block of a relation segment file: ".N" x pages per 1 GiB.
std::uint64_t first_block_of(std::string_view manifest_name, std::uint32_t page_size);
/// Whether a name lies directly in a database directory (global, base/N, tablespace/.../N).
bool in_database_directory(std::string_view manifest_name);

}  // namespace chronos::pgdata
