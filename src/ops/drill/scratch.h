#pragma once

#include <memory>

#include "chronos/ops/drill/drill.h"
#include "chronos/os/file.h"

namespace chronos::ops::drill {

/// The directory of one drill, marked as ours before anything else is in it: the marker names the
/// process by id and start time and is locked by it, so that whoever finds the directory later can
/// tell a running drill from a dead one. Removed when destroyed, marker last, unless keep() was
/// called.
class ScratchDirectory {
public:
    /// With `to` that directory, which must not exist, be empty, or be what a dead drill left; a
    /// link in `parent` lets sweep() find it. Kinds path_create, path_not_empty.
    static Result<ScratchDirectory> create(const std::string& parent, const std::string& to,
                                           const std::string& stanza);
    ScratchDirectory(ScratchDirectory&& other) noexcept;
    ScratchDirectory& operator=(ScratchDirectory&&) = delete;
    ~ScratchDirectory();

    const Scratch& scratch() const { return scratch_; }
    /// From now on nobody removes it.
    Result<> keep();

private:
    ScratchDirectory() = default;
    Scratch scratch_;
    std::string link_;  ///< in the parent; "" if the directory itself lies there
    std::string stanza_;
    os::FileDescriptor marker_;  ///< locked while the drill lives
    bool made_ = false;          ///< by us, so that it goes too and not only what is in it
    bool owned_ = false;
};

/// What dead drills of this user left behind below `parent`.
std::vector<std::string> find_leftovers(const std::string& parent);
/// Stops a server that still runs in it, and removes it. Kind path_remove.
Result<> remove_leftover(const std::string& path);

/// The start time of a process in clock ticks since boot; "" if there is none. A process id alone
/// may have been given to another process meanwhile.
std::string process_start(long pid);

}  // namespace chronos::ops::drill
