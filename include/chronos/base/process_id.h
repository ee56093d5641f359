#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace chronos {

/// A process, told apart from another one that got its id later, from one on another machine, and
/// from one in another container. Where the system does not tell, a part is empty or 0.
struct ProcessIdentity {
    std::string host;           ///< for people
    std::string boot_id;        ///< of this start of the machine
    std::string pid_namespace;  ///< in which `pid` means something: "pid:[4026531836]"
    pid_t pid = 0;
    std::uint64_t start_ticks = 0;  ///< since the machine was started

    static ProcessIdentity of_this_process();
};

/// When the process began, in ticks since the start of the machine; nullopt if there is no such
/// process, or nobody tells.
std::optional<std::uint64_t> process_start_ticks(pid_t pid);

/// "" where the system has none.
std::string machine_boot_id();

/// Of this process; "" where the system does not tell.
std::string own_pid_namespace();

/// Whether the process works in the directory (DirectoryIdentity), as far as that can be seen from
/// here.
bool works_in(pid_t pid, std::uint64_t device, std::uint64_t inode);

/// Whether a process of the user works in the directory, as all of a server do in its data
/// directory. Of those that have an id here; nullopt if one of them cannot be looked at.
std::optional<bool> is_worked_in(std::uint64_t device, std::uint64_t inode, uid_t user);

/// Whether the process still runs: known only of one that would be seen from here, else nullopt.
std::optional<bool> still_runs(const ProcessIdentity& process);

}  // namespace chronos
