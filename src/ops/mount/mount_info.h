#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chronos/ops/mount/mount.h"

namespace chronos::ops::mount {

/// What the list of mounted file systems calls a backup, and a tablespace that is served with one.
inline constexpr std::string_view kMountName = "chronos", kTablespaceName = "chronos-tablespace";

/// Backups among what /proc/self/mountinfo lists, ascending by path, as if all were live.
std::vector<Mount> parse_mounts(std::string_view mount_info);
/// The same of this process, none of them looked at.
Result<std::vector<Mount>> mounts_unasked();
/// The real path of a directory, found without looking at itself, which may not answer.
std::string without_looking(const std::string& path);
/// Sets what is only known by looking: state and facts. Takes some seconds at most.
void look_at(Mount& mount);
/// Takes off what is mounted there. Kind kernel, also if it is in use.
Result<> unmount(const std::string& path);
/// The same of what somebody may be looking at just now.
Result<> unmount_soon(const std::string& path);
/// Waits for the process of one that was unmounted, some seconds at most.
void wait_for_end(const Mount& mount);
/// Takes off what a process that is gone has mounted, also while somebody still uses it.
void let_go(const std::string& path);

}  // namespace chronos::ops::mount
