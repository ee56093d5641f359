#pragma once

#include <string>
#include <vector>

#include "chronos/ops/backup/backup.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/info.h"
#include "chronos/repo/wal_archive.h"

namespace chronos::ops::backup {

struct WalRange {
    std::string first;
    std::string last;
    std::uint32_t segment_size = 0;
};

/// Returns when every segment of the range is in the archive; kind archive_timeout otherwise.
Result<std::vector<repo::ArchivedSegment>> wait_for_wal(const BackupRequest& request,
                                                        const repo::ArchiveInfo& archive,
                                                        const WalRange& range,
                                                        const Cancellation& cancel);

struct WalCopy {
    std::string directory;  ///< of the backup
    repo::Encoding encoding;
    std::uint32_t segment_size = 0;
    UnixTime timestamp = 0;
};
/// Stores the segments in pg_data/pg_wal of the backup, durably, and returns their entries without
/// owner and mode. Source: docs/format/manifest.md, WAL inside a backup.
Result<std::vector<repo::ManifestFile>> copy_wal(const repo::Repository& repository,
                                                 const repo::ArchiveInfo& archive,
                                                 const std::vector<repo::ArchivedSegment>& segments,
                                                 const WalCopy& copy, const Cancellation& cancel);

}  // namespace chronos::ops::backup
