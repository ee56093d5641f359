#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/result.h"
#include "chronos/ops/mount/fetch_settings.h"
#include "chronos/repo/repository.h"

/// A backup as a directory that is usable at once. See docs/mount.md.
namespace chronos::ops::mount {

struct MountRequest {
    /// In the order in which they are asked.
    std::vector<repo::Repository> repositories;
    /// Of all that are directories, by their keys: nothing is mounted in them, and root writes
    /// there as the owner.
    std::map<unsigned, std::string> repository_paths;
    std::string stanza;
    std::string set;   ///< a label; "latest": the newest one of the first repository that has any
    std::string path;  ///< absolute; an existing, empty directory
    std::string exec_id;
    FetchSettings fetch;
    /// Called once, when the directory can be used; the line is for people. An error ends it.
    std::function<Result<>(const std::string& line)> ready;
};

/// Mounts the backup and serves it until somebody unmounts it or `cancel` is requested, which are
/// both success. While it is mounted our expire leaves the backup alone (repo/side/mount_hold.h); a
/// repository that cannot be written is worth a warning. Nothing else is written there.
///
/// Kinds: backup_set_invalid, path_missing, path_not_empty, option_invalid_value (a place where
/// nothing may be mounted), feature_not_supported and access (fuse::Session::mount), those of
/// reading info file and manifest.
Result<> mount_backup(const MountRequest& request, const Cancellation& cancel);

/// A backup that is mounted on this machine, as far as this process can see.
struct Mount {
    enum class State {
        live,
        dead,     ///< its process is gone: reading says ENOTCONN
        silent,   ///< its process does not answer
        private_  ///< of another user
    };
    std::string path;
    unsigned repo_key = 0;
    std::string stanza;
    std::string label;
    State state = State::live;
    /// That is served with a data directory, which is listed for it; by itself only if it is dead.
    bool is_tablespace = false;
    /// Of a live one, what it says of itself: pid, user, since, fetches, fetched-bytes,
    /// cached-bytes, spooled-bytes, failures, last-failure.
    std::map<std::string, std::string> facts;
};
std::string_view mount_state_name(Mount::State state);

/// Ascending by path. Takes a few seconds where one is silent.
Result<std::vector<Mount>> list_mounts();

/// Unmounts, also what a killed process has left behind, and waits for the process to end. Kinds:
/// path_missing if no backup is mounted there, kernel if it is in use or not ours to end.
Result<> finish_mount(const std::string& path);

}  // namespace chronos::ops::mount
