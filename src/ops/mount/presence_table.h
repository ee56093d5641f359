#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"
#include "ops/mount/lower_file.h"

namespace chronos::ops::mount {

/// Which part of the files of a directory is their own, as it is known after a power failure too:
/// one file of the machine, made whole at first, in which bits are set from then on.
///
/// It has a sector for 14.75 MiB of each file, and its place does not change. A sector is written
/// in one piece, or not at all: of two that are written, each is there or not by itself. So a bit
/// is true as soon as it may be there, and nothing depends on the order of two of them. Each has a
/// checksum: one that does not fit is damage, and an error.
///
/// Any thread, but one at a time for each file.
class PresenceTable {
public:
    static constexpr std::size_t kSector = 512;
    static constexpr std::size_t kBitBytes = 472;  ///< of a sector
    static constexpr std::uint64_t kPages = kBitBytes * 8;

    /// What has an entry, at the place that it has in the list.
    struct File {
        std::uint32_t number = 0;  ///< of the manifest's files
        std::uint64_t size_bytes = 0;
    };
    /// What is durable of an entry.
    struct Kept {
        std::uint64_t limit = 0;  ///< see Presence
        /// The file was to be cut off at the limit, which has perhaps not happened.
        bool cut = false;
        std::string bits;  ///< of the file's pages, kBitBytes for each sector
    };

    /// Nothing is present: durable, but for its name. `id` is of the one mount that it belongs to.
    static Result<std::unique_ptr<PresenceTable>> make(std::unique_ptr<LowerFile> file,
                                                       std::uint64_t id, std::vector<File> files);
    /// Kinds: format, if it is not the table that make() has made of the same.
    static Result<std::unique_ptr<PresenceTable>> open(std::unique_ptr<LowerFile> file,
                                                       std::uint64_t id, std::vector<File> files);

    std::size_t entry_count() const { return files_.size(); }
    const File& file(std::size_t entry) const { return files_[entry]; }
    static std::size_t sector_count(const File& file);

    /// Kinds: format, file_read.
    Result<Kept> load(std::size_t entry) const;
    /// A sector of an entry. Limit and cut are the first one's. `version` is what has to be synced
    /// for it to be durable. 0 or an errno, as of sync().
    int store(std::size_t entry, std::size_t sector, std::uint64_t limit, bool cut,
              std::string_view bits, std::uint64_t& version);
    /// All that is stored is durable. A failure is one for ever.
    int sync();
    bool is_synced(std::uint64_t version) const;

private:
    PresenceTable(std::unique_ptr<LowerFile> file, std::uint64_t id, std::vector<File> files);
    std::string header() const;
    std::string format(std::size_t entry, std::size_t sector, std::uint64_t limit, bool cut,
                       std::string_view bits) const;

    std::unique_ptr<LowerFile> lower_;
    const std::uint64_t id_;
    const std::vector<File> files_;
    std::vector<std::uint64_t> first_sectors_;  ///< of each file
    std::uint64_t sector_count_ = 1;
    mutable std::mutex mutex_;  ///< reading and writing of the file, and of what follows
    std::uint64_t stored_version_ = 0;
    std::uint64_t synced_version_ = 0;
    bool lost_ = false;
};

}  // namespace chronos::ops::mount
