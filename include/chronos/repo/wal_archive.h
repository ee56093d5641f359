#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/compress/compress.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// A WAL segment as an archive holds it. Source: docs/format/wal-archive.md, Names.
struct ArchivedSegment {
    std::string segment;   ///< "000000010000000000000003"
    std::string object;    ///< name in the storage
    std::string checksum;  ///< SHA-1 of the segment, from the name
    std::uint64_t stored_size = 0;
    compress::CompressType compression = compress::CompressType::none;
};

/// An archive has its segments in directories of their first 16 digits.
inline constexpr std::size_t kWalDirectorySize = 16;
bool is_wal_directory(std::string_view name);
/// Of the segment, or of a file that is named like one, in the archive.
inline std::string_view wal_directory(std::string_view segment) {
    return segment.substr(0, kWalDirectorySize);
}

/// A name as an archive stores segments: "<segment>[.partial]-<sha1>[.ext]".
/// Source: docs/format/wal-archive.md, Names.
struct ArchivedName {
    std::string_view segment;  ///< here and below: of the name that was parsed
    std::string_view checksum;
    bool partial = false;
    compress::CompressType compression = compress::CompressType::none;
};
/// nullopt of every other name, as that of a file that is being written. Digits of a segment are in
/// upper case, those of a checksum in lower case, and nothing but an extension of compression
/// follows.
std::optional<ArchivedName> parse_archived_name(std::string_view name);
/// Whether it is that of a whole segment.
bool is_archived_segment(std::string_view name);
/// The same of what a listing has: a directory or a link to nowhere is none, whatever its name.
bool is_archived_segment(const storage::Entry& entry);

/// Where an archive keeps a file of pg_wal that is not a segment (backup and timeline history).
/// A segment's name there also holds its checksum: see archived_segment_object().
std::string archived_file_object(const std::string& stanza, const std::string& archive_id,
                                 const std::string& name);
/// `name` is that of a segment, or of a partial one.
std::string archived_segment_object(const std::string& stanza, const std::string& archive_id,
                                    const std::string& name, const std::string& checksum,
                                    compress::CompressType compression);

/// A repository that lists backups of a cluster, and has nothing in any archive of it, has lost
/// them: the WAL of these backups was there. That it does not have something says nothing. Kind
/// path_missing, transient. `archive_ids` are those of the cluster, as "15-1".
Result<> check_archive_is_there(const Repository& repository, const std::string& stanza,
                                const std::vector<std::string>& archive_ids);

/// All that the archive has under the name of a segment or partial segment, sorted by object name.
Result<std::vector<ArchivedSegment>> list_archived_segment(const Repository& repository,
                                                           const std::string& stanza,
                                                           const std::string& archive_id,
                                                           const std::string& segment);

/// nullopt if the archive has no such segment; kind archive_duplicate if it has several.
Result<std::optional<ArchivedSegment>> find_archived_segment(const Repository& repository,
                                                             const std::string& stanza,
                                                             const std::string& archive_id,
                                                             std::string_view segment);

/// The same, waiting until it is there; kind archive_timeout, with pgBackRest's text and hints
/// (docs/format/wal-archive.md, Waiting for a segment), when `timeout` has passed.
Result<ArchivedSegment> wait_for_archived_segment(
    const Repository& repository, const std::string& stanza, const std::string& archive_id,
    std::string_view segment, std::chrono::milliseconds timeout, const Cancellation& cancel);

/// The plain content of an archived segment, in memory, not compared with its checksum: to look at.
/// `pass` is ArchiveInfo::cipher_pass.
Result<std::string> read_archived_segment(const Repository& repository, const std::string& object,
                                          const std::string& pass);

}  // namespace chronos::repo
