#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/lsn.h"
#include "chronos/base/result.h"
#include "chronos/compress/compress.h"
#include "chronos/repo/repository.h"

/// What is written beside an archive, under chronos/<stanza>/, where pgBackRest does not look. All
/// of it is about the archive of one cluster (`archive_id`, "15-1"), encrypted as that archive is,
/// and described in docs/wal.md. `pass` is ArchiveInfo::cipher_pass.
namespace chronos::repo {

/// Segments that archive-push-queue-max dropped, one behind the other on one timeline.
struct WalGap {
    std::string first;
    std::string last;
    UnixTime since = 0;  ///< when the first one was dropped
    UnixTime until = 0;  ///< and the last one
    bool operator==(const WalGap&) const = default;
};

/// Ascending by first segment. What is no record is passed over.
Result<std::vector<WalGap>> list_gaps(const Repository& repository, const std::string& stanza,
                                      const std::string& archive_id, const std::string& pass);
/// Replaces a record that begins with the same segment.
Result<> save_gap(const Repository& repository, const std::string& stanza,
                  const std::string& archive_id, const WalGap& gap, const std::string& pass);

/// The last commit in a segment: up to where its time can be recovered to.
struct CommitNote {
    std::string segment;
    std::int64_t time_us = 0;  ///< since 1970 UTC
    Lsn end;                   ///< where the record of the commit ends
    bool operator==(const CommitNote&) const = default;
};

/// One object for all of `notes`, which are in order of their segments and not empty.
Result<> save_commit_notes(const Repository& repository, const std::string& stanza,
                           const std::string& archive_id, const std::vector<CommitNote>& notes,
                           const std::string& pass);
/// The note of the last segment from `first` to `last`, both included, that has one. Reads only as
/// many objects as it takes, `objects_max` at most: notes may be missing anywhere.
Result<std::optional<CommitNote>> last_commit_note(const Repository& repository,
                                                   const std::string& stanza,
                                                   const std::string& archive_id,
                                                   const std::string& first,
                                                   const std::string& last, const std::string& pass,
                                                   std::size_t objects_max = 8);

/// A part of a segment that is not complete yet: bytes [begin, end) of it.
struct WalPiece {
    std::string segment;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::int64_t commit_us = 0;  ///< of the last commit in these bytes, since 1970 UTC; 0: none
    std::string checksum;        ///< SHA-1 of these bytes
    compress::CompressType compression = compress::CompressType::none;
    UnixTime stored = 0;  ///< when it was stored; not part of the name

    std::string object(const std::string& stanza, const std::string& archive_id) const;
};

/// The directory of a segment's pieces, and of nothing else.
std::string wal_pieces_path(const std::string& stanza, const std::string& archive_id,
                            const std::string& segment);
/// Sorted by segment, then by begin. `segment` "": those of all segments.
Result<std::vector<WalPiece>> list_wal_pieces(const Repository& repository,
                                              const std::string& stanza,
                                              const std::string& archive_id,
                                              const std::string& segment = "");
/// From the start of the segment on, as far as they go without a hole. `pieces` are of one segment.
std::vector<WalPiece> joined_pieces(const std::vector<WalPiece>& pieces);
/// The same of pieces of several segments, by segment; without those of which the start is missing.
std::map<std::string, std::vector<WalPiece>> joined_by_segment(std::vector<WalPiece> pieces);

/// Removes what is noted about segments before `segment` of the archive, which does not hold them
/// any more; "": all there is about the archive.
Result<> remove_wal_notes(const Repository& repository, const std::string& stanza,
                          const std::string& archive_id, const std::string& before,
                          const std::string& pass);

}  // namespace chronos::repo
