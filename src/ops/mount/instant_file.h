#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/fuse/file_system.h"
#include "ops/mount/lower_file.h"
#include "ops/mount/piece.h"
#include "ops/mount/presence.h"
#include "ops/mount/presence_table.h"

namespace chronos::ops::mount {

/// A file of a directory below a mount, of which a part may still have to be taken from the backup:
/// as durable as any file. What was written when a sync has succeeded is there after a crash and
/// after a power failure; what was written since is there or not, and where it is not there is what
/// was there at that sync, or, if there was none, what the backup has.
///
/// How that is so: a page is the file's own, for whoever comes after a crash, when its bit is in
/// the table.
/// - The bit is stored after the page is durable, and before the sync that covers it succeeds.
/// - What is only fetched need not be durable: a sync of a file that nobody has written costs
///   nothing, and its bits are stored when that is cheap.
/// - A page without a bit is what the backup has, whatever the file has there by then.
/// - Before the file is cut off that is noted for good, and what was noted is done at the next
///   start: what is beyond is never of the backup again.
/// Where the backup's content ends inside of a page, as no relation's does, what is before and
/// behind that place may be of two times after a crash, as both sides of a sector's edge may.
///
/// Answers are 0 or an errno, as of fuse::FileSystem. Once something that was written could not be
/// kept, or its sync has failed, all is EIO until the next start: who reads it must not find what
/// had been there before. Any thread; nobody waits for a fetch but who needs what it brings.
class InstantFile {
public:
    /// The range of the backup's content, which has it: EIO, or what else keeps it from coming;
    /// EAGAIN if some of it is here by now.
    using Fetch = std::function<int(std::uint64_t offset, std::size_t size,
                                    const fuse::Interrupted& interrupted, std::string& content)>;
    using Open = std::function<int(std::shared_ptr<LowerFile>& file)>;

    /// All of it is there: one that the backup does not have, or that was never missing a part. A
    /// new one is to be synced also if nothing is written.
    InstantFile(Open open, std::uint64_t size_bytes, bool is_new = false);
    /// `size_bytes` is what the file has. To be resumed before anything else.
    InstantFile(Open open, std::uint64_t size_bytes, PresenceTable& table, std::size_t entry,
                Fetch fetch);
    InstantFile(const InstantFile&) = delete;
    InstantFile& operator=(const InstantFile&) = delete;

    /// Whether there is room for what is only fetched: else whoever reads it gets it, and the rest
    /// of the disk is the server's own. Before anything else.
    void keep_while(std::function<bool()> has_room) { has_room_ = std::move(has_room); }

    /// Takes from the table what is there, and ends what was begun. What the machine has of the
    /// file is synced already: what another process has written, that died, nobody writes again.
    /// Kinds: format, file_read, file_write.
    Result<> resume();

    std::uint64_t size_bytes() const { return size_bytes_; }
    /// All of the range that lies in the file.
    int read(std::uint64_t offset, std::size_t size, const fuse::Interrupted& interrupted,
             std::string& content);
    /// All or an error, which may leave a part of it written.
    int write(std::uint64_t offset, std::string_view content, const fuse::Interrupted& interrupted);
    /// Cuts it off, or lets zeros follow.
    int resize(std::uint64_t size_bytes);
    /// Room for the range, which is on its way to be written: see fuse::WritableFileSystem. What is
    /// not there yet stays the backup's.
    int allocate(std::uint64_t offset, std::uint64_t size_bytes, bool keep_size);
    /// What was written is durable.
    int sync();

    /// What a fetch has brought, also if nobody needs it yet: true if all of the pieces is here
    /// now.
    bool keep(const std::vector<Piece>& pieces);
    /// The same in two steps, for what is verified as a whole: a piece of whole pages, which is not
    /// here before `laid()` of all of them. False if it cannot be written.
    bool lay(std::uint64_t offset, std::string_view content);
    void laid();
    /// Fetches a part of what is missing of the range, by `fetch`; true in `all` when nothing of it
    /// is.
    int complete_some(ByteRange range, const Fetch& fetch, const fuse::Interrupted& interrupted,
                      bool& all);
    /// How much that is.
    std::uint64_t missing_bytes() const;

    /// What has come since it was last noted in the table. Whoever then syncs the file system may
    /// store it, and sync the table.
    struct Due {
        std::uint64_t cuts = 0;
        std::vector<std::pair<std::size_t, std::string>> sectors;  ///< their bits
    };
    Due due() const;
    int store(const Due& due);
    /// Nothing is missing, and the table has it all.
    bool settled();

    /// Nobody has it open: it is closed until it is needed again, unless it has to be synced.
    void rest();

private:
    int usable();
    int put_down(std::uint64_t offset, std::string_view content);
    using Loose = std::map<std::uint64_t, std::string>;  ///< pages by their places
    std::optional<ByteRange> first_missing(ByteRange range, const Loose& loose) const;
    int read_all(ByteRange range, const Loose& loose, std::string& content);
    int get(ByteRange wanted, const Fetch& fetch, const fuse::Interrupted& interrupted,
            std::unique_lock<std::mutex>& lock, std::string& fetched);
    int take(ByteRange wanted, const Fetch& fetch, const fuse::Interrupted& interrupted,
             std::unique_lock<std::mutex>& lock);
    void add(ByteRange range);
    Due due_now() const;
    int cut_durably(std::uint64_t size_bytes);
    int lose();
    bool is_noted(std::uint64_t page) const;
    bool settle();
    bool is_table_synced() const;

    const Open open_;
    PresenceTable* table_;  ///< null when all is there, and known to be
    const std::size_t entry_;
    const Fetch fetch_;
    std::function<bool()> has_room_;
    std::mutex syncing_;  ///< one at a time; before the other one
    mutable std::mutex mutex_;
    std::shared_ptr<LowerFile> lower_;
    std::atomic<std::uint64_t> size_bytes_;  ///< changed under the mutex
    Presence presence_;
    std::string stored_;  ///< bits of the table
    std::uint64_t stored_version_ = 0;
    std::vector<bool> due_;  ///< sectors for which there are more of them
    std::size_t due_count_ = 0;
    bool cut_ = false;  ///< noted, and not known to be durable
    std::uint64_t cuts_ = 0;
    bool written_ = false;  ///< since the last sync
    bool lost_ = false;
};

}  // namespace chronos::ops::mount
