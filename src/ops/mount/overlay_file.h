#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/fuse/file_system.h"
#include "ops/mount/lower_file.h"
#include "ops/mount/piece.h"
#include "ops/mount/presence.h"

namespace chronos::ops::mount {

/// A file that may be written, and that began as one of a backup or empty: what is the file's own
/// lies in a sparse file of this machine, at the same place, and the rest is taken from the backup
/// when it is needed and then kept there.
///
/// What comes from the backup never takes the place of what was written, however late it comes. A
/// page that is written whole is not fetched. Nothing is durable: the sparse file is of no use
/// without this object.
///
/// Answers are 0 or an errno, as of fuse::FileSystem. Any thread; nobody waits for a fetch but who
/// needs what it brings.
class OverlayFile {
public:
    /// The range of the backup's content, which has it: EIO, or what else keeps it from coming.
    using Fetch = std::function<int(std::uint64_t offset, std::size_t size,
                                    const fuse::Interrupted& interrupted, std::string& content)>;

    /// `path` is the sparse file, which is made when there is something for it; `fetch` is not
    /// called if `size_bytes` is 0.
    OverlayFile(std::string path, std::uint64_t size_bytes, Fetch fetch);
    /// Removes the sparse file.
    ~OverlayFile();
    OverlayFile(const OverlayFile&) = delete;
    OverlayFile& operator=(const OverlayFile&) = delete;

    std::uint64_t size_bytes() const;
    /// All of the range that lies in the file.
    int read(std::uint64_t offset, std::size_t size, const fuse::Interrupted& interrupted,
             std::string& content);
    /// All or an error, which may leave a part of it written.
    int write(std::uint64_t offset, std::string_view content, const fuse::Interrupted& interrupted);
    /// What a fetch has brought, also if nobody needs it yet: true if all of the pieces is here
    /// now.
    bool keep(const std::vector<Piece>& pieces);
    /// Cuts it off, or lets zeros follow.
    int resize(std::uint64_t size_bytes);
    /// Nobody has it open: the sparse file is closed until it is needed again.
    void rest();

private:
    int open_data();
    int put_down(std::uint64_t offset, std::string_view content);
    int take(ByteRange wanted, const fuse::Interrupted& interrupted,
             std::unique_lock<std::mutex>& lock);

    const std::string path_;
    const Fetch fetch_;
    mutable std::mutex mutex_;
    std::uint64_t size_bytes_;
    Presence presence_;
    bool made_ = false;
    std::optional<MachineFile> data_;
};

}  // namespace chronos::ops::mount
