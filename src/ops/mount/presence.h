#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace chronos::ops::mount {

/// Bytes from `begin` up to `end`, which is not among them.
struct ByteRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool operator==(const ByteRange&) const = default;
};

/// Which part of a file that began as one of a backup still has to be taken from there. The rest is
/// the file's own: written, or taken already.
///
/// Kept by page, and so small that what a server or the kernel writes is whole pages: a recovery
/// writes pages of 8 KiB from full-page images without having read them, and the kernel, which
/// gathers writes, may hand over the halves of such a page one by one. If either were a part of a
/// page, it would have to be fetched for the rest.
///
/// Beyond limit() nothing is of the backup, whatever the size of the file becomes: what was cut off
/// reads as zeros when the file grows again.
///
/// 32 KiB of memory per GiB that is still there. One thread at a time.
class Presence {
public:
    static constexpr std::uint64_t kPage = 4096;

    explicit Presence(std::uint64_t backup_size_bytes);
    /// What was known of one before: of each page below the limit whether it is the file's own.
    Presence(std::uint64_t limit_bytes, std::vector<bool> present);

    /// How much of the backup's content counts, whether it was taken or not.
    std::uint64_t limit() const { return limit_; }
    /// Nothing is left to be taken.
    bool complete() const { return absent_pages_ == 0; }
    std::uint64_t absent_pages() const { return absent_pages_; }
    /// That have something below the limit.
    std::uint64_t page_count() const { return (limit_ + kPage - 1) / kPage; }
    /// Of one of those whether it is the file's own.
    bool has(std::uint64_t page) const { return complete() || present_[page]; }

    /// The first run of bytes in the range that are still to be taken.
    std::optional<ByteRange> first_absent(ByteRange range) const;
    /// Of content of the backup, by where it is, the whole pages that are still to be taken; the
    /// last one of the backup may be shorter.
    std::vector<ByteRange> absent_pages_of(ByteRange content) const;
    /// The part of the range's first and last page that a write of it does not cover and that is
    /// still to be taken: without it the pages cannot become the file's own. Whole pages, cut off
    /// at limit().
    std::optional<ByteRange> needed_to_write(ByteRange range) const;
    /// All of it is the file's own now: pages of which a part is missing stay as they are.
    void add(ByteRange range);
    /// The file has been cut off, or made larger.
    void cut(std::uint64_t size_bytes);

private:
    std::uint64_t page_end(std::uint64_t page) const;

    std::uint64_t limit_;
    std::vector<bool> present_;  ///< of the pages below the limit
    std::uint64_t absent_pages_;
};

}  // namespace chronos::ops::mount
