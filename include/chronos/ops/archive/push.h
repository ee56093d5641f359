#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "chronos/base/given.h"
#include "chronos/compress/compress.h"
#include "chronos/repo/repository.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/stanza.h"

namespace chronos::ops::archive {

class CompressedSegments;

struct PushSettings {
    std::vector<repo::Repository> repositories;  ///< ascending key
    std::string stanza;
    std::string pg_path;  ///< data directory; "": which cluster it is, the first repository knows
    compress::CompressType compress_type = compress::CompressType::none;
    int compress_level = 0;          ///< of that type
    Given<std::size_t> process_max;  ///< segments that are compressed at a time
    bool header_check = true;        ///< look whether a segment belongs to the cluster
    bool duplicate_warn = true;      ///< say when a segment is already there with the same content
    /// Create the stanza where the repository itself is there but has none yet. Needs pg_path.
    bool create_stanza = true;
    /// Where it is remembered that the stanza was there: a directory that is empty then is a file
    /// system which is not mounted, and no new repository. "": nowhere.
    std::string spool_path;
    /// Times of commits are noted beside the archive, one object for so many segments or when the
    /// first of them is so old; see repo::save_commit_notes().
    std::size_t commit_batch = 1;
    std::chrono::milliseconds commit_delay{10000};
    std::string lock_path;
    std::string exec_id;
    std::shared_ptr<CompressedSegments> compressed;  ///< shared with other pushers; may be absent
};

/// Stores files of pg_wal in all repositories. Made once, used for many files, from any thread.
///
/// A file is stored when push() has returned without error: it is durable in every repository.
/// Otherwise it is durable in some or in none and push() may be called again. Rules, error kinds
/// and texts: docs/format/wal-archive.md, archive-push.
///
/// More threads than `process_max` may be inside push(): the others wait for their repository, and
/// hold the compressed segment only. Memory: a segment of up to 16 MiB for each of process_max, as
/// much for its compressed form, of which little is used as a rule, and 32 MiB of compressed ones
/// on their way; larger segments are streamed, process_max at a time.
class ArchivePusher {
public:
    explicit ArchivePusher(PushSettings settings);
    ~ArchivePusher();
    ArchivePusher(const ArchivePusher&) = delete;
    ArchivePusher& operator=(const ArchivePusher&) = delete;

    /// `name`: as the archiver calls the file; `path`: where it lies, absolute. Kind not_found if
    /// it does not lie there.
    Result<> push(const std::string& name, const std::string& path);

    /// Makes it known to every repository that WAL of `cluster` was not stored. Kind
    /// archive_mismatch if the stanza belongs to another cluster by now.
    Result<> record_gap(const repo::ClusterIdentity& cluster, const repo::WalGap& gap);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace chronos::ops::archive
