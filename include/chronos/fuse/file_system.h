#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "chronos/base/clock.h"

namespace chronos::fuse {

/// A file or directory, as long as it is mounted. The root is kRoot, 0 is none.
using NodeId = std::uint64_t;
inline constexpr NodeId kRoot = 1;

struct Attributes {
    NodeId node = 0;
    mode_t mode = 0;  ///< with the type
    std::uint64_t size = 0;
    UnixTime modified = 0;
    uid_t user = 0;
    gid_t group = 0;
    unsigned links = 1;
};

/// How a file was opened.
struct Opened {
    /// Its size is not known before it is read: the kernel asks for every read, and keeps nothing.
    bool size_unknown = false;
};

struct Totals {
    std::uint64_t size_bytes = 0;
    std::uint64_t files = 0;
    std::uint64_t free_bytes = 0;
};

/// Whether nobody waits for the answer any more: the mount ends, or who reads what cannot be
/// written was sent a signal.
using Interrupted = std::function<bool()>;

/// What can be asked of a mounted tree, which by itself never changes. Each answers 0 or an errno;
/// results are set with 0 only. Any thread, any number at a time.
class FileSystem {
public:
    virtual ~FileSystem() = default;

    virtual int lookup(NodeId directory, std::string_view name, Attributes& found) = 0;
    virtual int attributes(NodeId node, Attributes& found) = 0;
    /// The entries from place `first` on, 0 being the beginning, in an order that stays as long as
    /// they do: `next` is the place behind the entry, and `add` returns false when it takes no
    /// more.
    /// "." and ".." are entries.
    using AddEntry =
        std::function<bool(std::string_view name, const Attributes& entry, std::uint64_t next)>;
    virtual int list(NodeId directory, std::uint64_t first, const AddEntry& add) = 0;
    virtual int open(NodeId file, Opened& how) = 0;
    /// All of the range that lies in the file, or an error: never less.
    virtual int read(NodeId file, std::uint64_t offset, std::size_t size,
                     const Interrupted& interrupted, std::string& content) = 0;
    virtual Totals totals() = 0;
};

/// What of a node is to be changed.
struct Change {
    std::optional<mode_t> mode = std::nullopt;  ///< without the type
    std::optional<uid_t> user = std::nullopt;
    std::optional<gid_t> group = std::nullopt;
    std::optional<std::uint64_t> size = std::nullopt;  ///< of a file
    std::optional<UnixTime> modified = std::nullopt;
};

/// Who asks for a node to be made, with the mode that it is to have.
struct Making {
    uid_t user = 0;
    gid_t group = 0;
    mode_t mode = 0;  ///< without the type
};

/// What else than files, directories and links may have a name.
enum class Special { socket, pipe };

/// A tree that is changed through the mount, and by nobody else: the kernel gathers what is written
/// and keeps sizes and times of files while it does. Whether somebody may is asked by the kernel,
/// before.
///
/// A node is known to the kernel as often as lookup(), create(), link() and those that make one
/// have handed it out, less what forget() was told; open as often as create() and open() have
/// succeeded, less release(). As long as it is either it can be asked for, also if no name is left.
class WritableFileSystem : public FileSystem {
public:
    /// A file, which is open then. EEXIST, if the name is taken, as of the next ones.
    virtual int create(NodeId directory, std::string_view name, const Making& making,
                       Attributes& made) = 0;
    virtual int make_directory(NodeId directory, std::string_view name, const Making& making,
                               Attributes& made) = 0;
    virtual int make_symlink(NodeId directory, std::string_view name, std::string_view target,
                             const Making& making, Attributes& made) = 0;
    /// ENOSYS, as of allocate(), where there is no such thing: nobody asks twice.
    virtual int make_special(NodeId, std::string_view, Special, const Making&, Attributes&) {
        return ENOSYS;
    }
    virtual int read_symlink(NodeId link, std::string& target) = 0;
    /// One more name for a file.
    virtual int link(NodeId file, NodeId directory, std::string_view name, Attributes& now) = 0;
    virtual int unlink(NodeId directory, std::string_view name) = 0;
    virtual int remove_directory(NodeId directory, std::string_view name) = 0;
    /// In place of what has the new name, unless `keep_existing`: EEXIST then.
    virtual int rename(NodeId directory, std::string_view name, NodeId new_directory,
                       std::string_view new_name, bool keep_existing) = 0;
    /// All of it, or an error.
    virtual int write(NodeId file, std::uint64_t offset, std::string_view content,
                      const Interrupted& interrupted) = 0;
    /// Room for the range, which reads as before, or, behind the end of the file, as zeros. The
    /// file has its end there then, unless `keep_size`. EOPNOTSUPP, where the machine cannot.
    virtual int allocate(NodeId, std::uint64_t /*offset*/, std::uint64_t /*size*/,
                         bool /*keep_size*/) {
        return ENOSYS;
    }
    virtual int change(NodeId node, const Change& change, Attributes& now) = 0;
    virtual void release(NodeId file) = 0;
    virtual void forget(NodeId node, std::uint64_t times) = 0;

    /// Whether anything is kept beyond the mount: if not, sync() is never asked for, and write() is
    /// all that a sync waits for.
    virtual bool is_durable() const { return false; }
    /// What write() was given before is there after a power failure, or, of a directory, its names.
    virtual int sync(NodeId) { return 0; }
};

}  // namespace chronos::fuse
