#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::repo {

/// pgBackRest's, and `hold`, which only our expire, hold and unhold take: a hold must be possible
/// while a backup runs, and not while expire decides.
enum class LockType { archive, backup, restore, hold };

struct LockRequest {
    /// To be given, here and in what verbs are asked: the option has a default, nothing else has.
    std::string lock_path;
    std::string stanza;
    LockType type = LockType::backup;
    unsigned repo_key = 1;
    std::string exec_id;  ///< "<pid>-<8 hex digits>"
};

/// A lock file of pgBackRest's, held: flock on `<lock-path>/<stanza>-<type>-<repo key>.lock` with
/// its JSON in it, so that neither tool runs while the other does. Source: docs/format/locks.md,
/// Lock files. Released, and the file removed, when it is destroyed. A file left by a process that
/// was killed is not a lock: flock ends with its holder.
///
/// Releases of pgBackRest before the repository key came into the name (2.45 among them) use
/// `<stanza>-<type>.lock` for all repositories; that file is locked too, shared among ours.
class Lock {
public:
    /// Kind lock_acquire if another process holds it, naming that process. A holder with the same
    /// exec id is the same command: the lock counts as obtained and stays the holder's to release.
    static Result<std::unique_ptr<Lock>> acquire(const LockRequest& request);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

    /// Shows progress to `info` of either tool; writes only when it grew by more than 0.10 percent
    /// points. One thread at a time.
    void report_progress(std::uint64_t size_bytes, std::uint64_t size_complete_bytes);

private:
    struct State;
    explicit Lock(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

struct LockState {
    bool held = false;
    std::optional<std::uint64_t> size_bytes;
    std::optional<std::uint64_t> size_complete_bytes;
    int pid = 0;
};
/// What `info` shows. Held only if flock fails and the content parses.
LockState look_at_lock(const LockRequest& request);

/// Kind stop if `<stanza>.stop` or `all.stop` exists in the lock path.
Result<> check_stop_file(const std::string& lock_path, const std::string& stanza);

/// "<lock-path>/<stanza>.stop"; of all stanzas if `stanza` is "".
std::string stop_file_path(const std::string& lock_path, const std::string& stanza);
Result<bool> has_stop_file(const std::string& lock_path, const std::string& stanza);
/// Both return whether they changed something.
Result<bool> write_stop_file(const std::string& lock_path, const std::string& stanza);
Result<bool> remove_stop_file(const std::string& lock_path, const std::string& stanza);

/// Sends SIGTERM to the process in every lock file of the stanza (of all if it is "") that is held,
/// and returns their ids. Files that nobody holds any more are removed; one that is held is left to
/// its holder, who removes it at its end: until then the lock must not be free.
Result<std::vector<int>> terminate_lock_holders(const std::string& lock_path,
                                                const std::string& stanza);

}  // namespace chronos::repo
