#include "ops/backup/wal.h"

#include "chronos/base/log.h"
#include "chronos/pgdata/wal.h"
#include "ops/backup/copy.h"

namespace chronos::ops::backup {
namespace {

/// Stored bytes of a segment in the archive -> stored bytes in the backup. Where both compress
/// alike only the encryption changes. Returns the bytes stored.
Result<std::uint64_t> recode(const repo::Repository& repository, const repo::ArchiveInfo& archive,
                             const repo::ArchivedSegment& segment, repo::Encoding to,
                             io::Sink& target) {
    repo::Encoding from = repo::wal_encoding(repository, archive.cipher_pass, segment.compression);
    if (from.compress_type == to.compress_type)
        from.compress_type = to.compress_type = compress::CompressType::none;
    io::CountingSink stored(target);
    repo::Encoder encoder(to, stored);
    CHRONOS_TRY(repo::decode_object(repository, segment.object, from, encoder));
    return stored.count();
}

}  // namespace

Result<std::vector<repo::ArchivedSegment>> wait_for_wal(const BackupRequest& request,
                                                        const repo::ArchiveInfo& archive,
                                                        const WalRange& range,
                                                        const Cancellation& cancel) {
    log_info("check archive for segment(s) " + range.first + ":" + range.last);
    std::vector<repo::ArchivedSegment> segments;
    for (const std::string& segment :
         CHRONOS_TRY(pgdata::wal_segment_range(range.first, range.last, range.segment_size)))
        segments.push_back(CHRONOS_TRY(repo::wait_for_archived_segment(
            request.repository, request.stanza, archive.current().archive_id(), segment,
            request.archive_timeout, cancel)));
    return segments;
}

Result<std::vector<repo::ManifestFile>> copy_wal(const repo::Repository& repository,
                                                 const repo::ArchiveInfo& archive,
                                                 const std::vector<repo::ArchivedSegment>& segments,
                                                 const WalCopy& copy, const Cancellation& cancel) {
    std::vector<repo::ManifestFile> files;
    for (const repo::ArchivedSegment& segment : segments) {
        CHRONOS_TRY(cancel.check());
        log_detail("copy segment " + segment.segment + " to backup");
        repo::ManifestFile& file = files.emplace_back();
        file.name = "pg_data/pg_wal/" + segment.segment;
        file.size = file.size_original = copy.segment_size;
        file.timestamp = copy.timestamp;
        file.checksum = segment.checksum;
        const auto target = CHRONOS_TRY(repository.storage->create(
            stored_name(copy.directory, file.name, copy.encoding.compress_type),
            storage::WriteMode::atomic));
        file.repo_size = CHRONOS_TRY_DOING(
            recode(repository, archive, segment, copy.encoding, *target),
            "copy WAL segment " + segment.segment + " from the archive to the backup");
    }
    return files;
}

}  // namespace chronos::ops::backup
