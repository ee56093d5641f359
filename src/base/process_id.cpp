#include "chronos/base/process_id.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "chronos/base/directory_identity.h"
#include "chronos/base/text.h"

namespace chronos {
namespace {

constexpr std::size_t kStartField = 19;  // of /proc/<pid>/stat, counted behind the command

std::string host_name() {
    std::array<char, HOST_NAME_MAX + 1> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

struct Status {
    bool ended = false;  ///< nobody has asked for its exit status yet
    std::uint64_t start_ticks = 0;
};

std::optional<Status> read_status(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    // The command is in parentheses and may hold anything, parentheses too.
    const std::size_t command_end = text.rfind(')');
    if (command_end == std::string::npos || command_end + 2 > text.size()) return std::nullopt;
    const auto fields = split(std::string_view(text).substr(command_end + 2), ' ');
    const auto start = fields.size() > kStartField ? parse_uint(fields[kStartField]) : std::nullopt;
    if (!start) return std::nullopt;
    return Status{fields[0] == "Z" || fields[0] == "X", *start};
}

/// By its name, "postgres" or one with that in it.
bool may_be_server(const std::filesystem::path& process) {
    std::string name;
    return !(std::ifstream(process / "comm") >> name) || name.find("postgres") != std::string::npos;
}

}  // namespace

std::optional<std::uint64_t> process_start_ticks(pid_t pid) {
    const auto status = read_status(pid);
    return status && !status->ended ? std::optional(status->start_ticks) : std::nullopt;
}

std::string machine_boot_id() {
    std::string id;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
    return id;
}

std::string own_pid_namespace() {
    std::array<char, 64> target{};
    const ssize_t size = ::readlink("/proc/self/ns/pid", target.data(), target.size());
    return size > 0 ? std::string(target.data(), static_cast<std::size_t>(size)) : "";
}

bool works_in(pid_t pid, std::uint64_t device, std::uint64_t inode) {
    const auto directory = identify_directory("/proc/" + std::to_string(pid) + "/cwd");
    return directory && directory->is_same_as(device, inode);
}

std::optional<bool> is_worked_in(std::uint64_t device, std::uint64_t inode, uid_t user) {
    bool all_seen = ::geteuid() == 0 || ::geteuid() == user;
    std::error_code failure;
    for (std::filesystem::directory_iterator at("/proc", failure), end; !failure && at != end;
         at.increment(failure)) {
        if (!parse_uint(at->path().filename().string())) continue;
        struct stat process = {};
        if (::stat(at->path().c_str(), &process) != 0 || process.st_uid != user) continue;
        const auto directory = identify_directory((at->path() / "cwd").string());
        if (!directory)
            // What works in a mount that is dead reaches nothing there.
            all_seen =
                all_seen && (errno == ENOENT || errno == ENOTCONN || !may_be_server(at->path()));
        else if (directory->is_same_as(device, inode))
            return true;
    }
    return failure || !all_seen ? std::nullopt : std::optional(false);
}

ProcessIdentity ProcessIdentity::of_this_process() {
    const pid_t pid = ::getpid();
    return {host_name(), machine_boot_id(), own_pid_namespace(), pid,
            process_start_ticks(pid).value_or(0)};
}

std::optional<bool> still_runs(const ProcessIdentity& process) {
    if (process.boot_id.empty() || process.pid_namespace.empty() || process.pid <= 0 ||
        process.boot_id != machine_boot_id() || process.pid_namespace != own_pid_namespace())
        return std::nullopt;
    if (::kill(process.pid, 0) != 0 && errno == ESRCH) return false;
    const auto status = read_status(process.pid);
    if (!status) return true;
    return !status->ended &&
           (process.start_ticks == 0 || status->start_ticks == process.start_ticks);
}

}  // namespace chronos
