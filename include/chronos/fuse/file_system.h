#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
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
};

/// Whether nobody waits for the answer any more: who reads was sent a signal.
using Interrupted = std::function<bool()>;

/// What can be asked of a mounted tree that never changes. Each answers 0 or an errno; results are
/// set with 0 only. Any thread, any number at a time.
class FileSystem {
public:
    virtual ~FileSystem() = default;

    virtual int lookup(NodeId directory, std::string_view name, Attributes& found) = 0;
    virtual int attributes(NodeId node, Attributes& found) = 0;
    /// The entries from number `first` on, in an order that stays: `add` returns false when it
    /// takes no more. "." and ".." are entries.
    virtual int list(
        NodeId directory, std::uint64_t first,
        const std::function<bool(std::string_view name, const Attributes& entry)>& add) = 0;
    virtual int open(NodeId file, Opened& how) = 0;
    /// All of the range that lies in the file, or an error: never less.
    virtual int read(NodeId file, std::uint64_t offset, std::size_t size,
                     const Interrupted& interrupted, std::string& content) = 0;
    virtual Totals totals() = 0;
};

}  // namespace chronos::fuse
