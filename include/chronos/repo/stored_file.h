#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chronos/repo/block_map.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// Where the bytes of a file of a backup lie: the object and the slice of it.
struct StoredLocation {
    std::string object;  ///< e.g. "backup/main/20261120-075745F/pg_data/PG_VERSION.gz"
    storage::Range range;
};
StoredLocation locate(const std::string& stanza, const Manifest& manifest,
                      const ManifestFile& file);

/// The object that has the super block of an item of the file's map.
std::string block_object(const std::string& stanza, const Manifest& manifest,
                         const ManifestFile& file, const BlockMapItem& item);

/// Writes the content of a file that is stored whole (not block incremental, size > 0) to `sink`
/// and finishes it: read, decrypt, decompress in the form the manifest demands. Errors name file
/// and object. Does not compare the checksum: the caller's sink does.
Result<> read_whole_file(const Repository& repository, const std::string& stanza,
                         const Manifest& manifest, const ManifestFile& file, io::Sink& sink);

/// Members of one bundle, out of one read of it, which is what counts where a request takes longer
/// than its bytes. What it is made from must outlive it. One thread.
class StoredRun {
public:
    /// For `first`, `last` and those between them: members of the same bundle of the same backup.
    static Result<StoredRun> open(const Repository& repository, const std::string& stanza,
                                  const Manifest& manifest, const ManifestFile& first,
                                  const ManifestFile& last);

    const std::string& object() const { return location_.object; }

    /// In order of offset, without overlaps; what lies in front of the file is read over.
    Result<> go_to(const ManifestFile& file);
    /// Of the file gone to, once, if it is stored whole: writes its content to `sink` and finishes
    /// it. Compares neither size nor checksum: the caller's sink does.
    Result<> read_whole(io::Sink& sink);
    /// Of the file gone to, once, if it is block incremental: a repository for read_block_map() and
    /// read_blocks() in which what the bundle has of it is at hand, in memory; other blocks are
    /// requested.
    Result<Repository> hold();

private:
    StoredRun(const Repository& repository, StoredLocation location, Encoding encoding,
              std::unique_ptr<io::Source> source);

    const Repository& repository_;
    StoredLocation location_;
    Encoding encoding_;
    std::unique_ptr<io::Source> source_;
    std::uint64_t at_;  ///< offset in the bundle
    const ManifestFile* file_ = nullptr;
};

/// The block map of a block-incremental file.
Result<BlockMap> read_block_map(const Repository& repository, const std::string& stanza,
                                const Manifest& manifest, const ManifestFile& file);

/// Called with the content of block `number` of the file; blocks come in any order.
using BlockReceiver = std::function<Result<>(std::uint64_t number, io::Bytes content)>;

/// Reads the blocks of `map` for which `wanted[number]` is true (all if `wanted` is empty): super
/// blocks that touch are fetched by one ranged read; memory is bounded by one super block.
Result<> read_blocks(const Repository& repository, const std::string& stanza,
                     const Manifest& manifest, const ManifestFile& file, const BlockMap& map,
                     const std::vector<bool>& wanted, const BlockReceiver& receive);

/// The content of a small file of the backup, however it is stored: whole, by block, or not at all
/// because it is empty. Compared with the checksum of the manifest. A file larger than
/// `size_max_bytes` is an error of kind file_read, and nothing of it is read.
Result<std::string> read_small_file(const Repository& repository, const std::string& stanza,
                                    const Manifest& manifest, const ManifestFile& file,
                                    std::uint64_t size_max_bytes);

}  // namespace chronos::repo
