#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "chronos/repo/block_map.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

/// A file of a backup that is read in parts: what has to be fetched to have any byte of it, and
/// fetching that, verified. A unit is what the format allows to be fetched for itself:
///
///   block incremental    a super block, wherever in the chain of backups it lies; it holds blocks
///                        from all over the file, and all of those come that the file still has
///   whole or in a bundle the file, which is one unit
///   empty                nothing
///
/// Repository, manifest and file must outlive it. Any thread, any number at a time.
class LazyFile {
public:
    /// Part of the content, by where in the file it is. Parts come in any order.
    using Receiver = std::function<Result<>(std::uint64_t offset, io::Bytes content)>;

    /// Reads the block map of a block-incremental file, which is one request; nothing of another.
    static Result<LazyFile> open(const Repository& repository, const std::string& stanza,
                                 const Manifest& manifest, const ManifestFile& file);

    std::uint64_t size_bytes() const { return file_->size; }
    std::size_t unit_count() const;
    /// The unit that has the byte at `offset`, which lies in the file.
    std::size_t unit_at(std::uint64_t offset) const;
    /// What fetching the unit gives, in bytes of content.
    std::uint64_t unit_size_bytes(std::size_t unit) const;
    /// Where the byte's part of its unit ends: up to there the same unit has the content.
    std::uint64_t part_end(std::uint64_t offset) const;

    /// All that the file has of these units, which touch in the repository or are asked for one
    /// after the other. What was received counts once this has succeeded: blocks are compared
    /// with their XXH3 before they are handed out, a whole file with its size and SHA-1 at its end.
    /// Kind checksum, with file and object, if that fails.
    Result<> fetch(std::span<const std::size_t> units, const Receiver& receive) const;

    /// Of this object: about 80 bytes a block.
    std::size_t memory_bytes() const;

private:
    LazyFile(const Repository& repository, const std::string& stanza, const Manifest& manifest,
             const ManifestFile& file)
        : repository_(&repository), stanza_(stanza), manifest_(&manifest), file_(&file) {}

    void find_units();
    Result<> fetch_whole(const Receiver& receive) const;
    std::uint64_t block_size_bytes(std::uint64_t number) const;

    const Repository* repository_;
    std::string stanza_;
    const Manifest* manifest_;
    const ManifestFile* file_;
    BlockMap map_;
    std::vector<std::uint32_t> unit_of_block_;
    /// The blocks by unit: those of unit u are from first_of_unit_[u] on.
    std::vector<std::uint32_t> blocks_;
    std::vector<std::uint32_t> first_of_unit_;
};

/// Compares what was read of a file that is stored whole with what the manifest says of it. Kind
/// checksum.
Result<> check_content(const Manifest& manifest, const ManifestFile& file, std::uint64_t size_bytes,
                       const std::string& sha1);

}  // namespace chronos::repo
