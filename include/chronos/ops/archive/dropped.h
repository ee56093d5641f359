#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chronos/ops/archive/push.h"

namespace chronos::ops::archive {

struct DropSettings {
    std::optional<std::uint64_t> queue_max_bytes;  ///< nullopt: nothing is ever dropped
    std::string spool_path;
    std::string stanza;
    std::string pg_path;    ///< data directory, if it is known
    unsigned repo_key = 0;  ///< the only repository that goes without; 0: all
};

/// archive-push-queue-max: WAL that is acknowledged without being stored, so that pg_wal does not
/// fill the disk while the repository is away. When: source is docs/format/wal-archive.md,
/// archive-push. Beyond it, no segment is dropped unless the gap is on record first: in
/// <spool>/chronos/<stanza>/dropped, durably, and from there in every repository as soon as it can
/// be reached (repo::save_gap()); in repoN below that directory what only repository N goes
/// without. Timeline and backup history is kept there and stored later.
///
/// Any thread; several processes may work on one spool.
class DroppedWal {
public:
    explicit DroppedWal(DropSettings settings);

    /// Whether more waits than may. `path`: of the file that is to be archived, in pg_wal.
    Result<bool> queue_exceeded(const std::string& path) const;

    /// Records that the file will be missing; after success it may be acknowledged. An error means
    /// that it must not.
    Result<> drop(const std::string& name, const std::string& path);

    /// Hands on what is on record, if there is anything, to the repositories of the pushers. To be
    /// called when they can be reached; what fails is tried again by the next call.
    void report(const std::vector<ArchivePusher*>& pushers);

private:
    Result<std::uint64_t> segment_size(const std::string& path) const;
    Result<> record_segment(const std::string& name, const std::string& path);
    Result<> keep_file(const std::string& name, const std::string& path);
    Result<> report_segments(const std::vector<ArchivePusher*>& pushers);
    void report_files(const std::vector<ArchivePusher*>& pushers);

    const DropSettings settings_;
    const std::string directory_;
    const std::string record_;
    std::mutex reporting_;
};

}  // namespace chronos::ops::archive
