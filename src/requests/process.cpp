#include "chronos/requests/process.h"

#include <grp.h>
#include <pwd.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>

namespace chronos::requests {
namespace {

std::atomic<Cancellation*> cancellation{nullptr};
std::atomic<int> signal_number{0};
static_assert(std::atomic<Cancellation*>::is_always_lock_free, "used in a signal handler");

extern "C" void on_signal(int number) {
    if (signal_number.exchange(number) != 0) {
        // Whoever asks twice does not want to wait. Nothing is lost: what is not whole has not
        // appeared in the repository.
        std::signal(number, SIG_DFL);
        std::raise(number);
        return;
    }
    cancellation.load()->request();
}

struct Owner {
    uid_t user;
    gid_t group;
};

std::optional<Owner> owner_of(const std::string& path) {
    struct stat status = {};
    if (path.empty() || stat(path.c_str(), &status) != 0) return std::nullopt;
    return Owner{status.st_uid, status.st_gid};
}

std::optional<Owner> find_owner(const config::Config& config) {
    for (const unsigned key : config.pg_keys())
        if (const auto owner = owner_of(config.get_string({"pg-path", key}))) return owner;
    for (const unsigned key : config.repo_keys()) {
        if (!config.is_directory(key)) continue;
        if (const auto owner = owner_of(config.get_string({"repo-path", key}))) return owner;
    }
    return std::nullopt;
}

}  // namespace

void set_up_signals(Cancellation& cancel) {
    cancellation.store(&cancel);
    for (int number = 1; number < SIGRTMIN; ++number)
        if (number != SIGKILL && number != SIGSTOP) std::signal(number, SIG_DFL);
    std::signal(SIGPIPE, SIG_IGN);
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
}

const Cancellation* process_cancellation() {
    return cancellation.load();
}

std::string received_signal() {
    switch (signal_number.load()) {
        case 0: return "";
        case SIGINT: return "SIGINT";
        case SIGTERM: return "SIGTERM";
        default: return "SIGHUP";
    }
}

Result<> leave_root(const config::Config& config) {
    if (geteuid() != 0 || config.get_bool("allow-root")) return {};
    const auto owner = find_owner(config);
    if (!owner || owner->user == 0) return {};
    const passwd* user = getpwuid(owner->user);
    // An owner without a name (a volume from another machine) has no groups but the directory's.
    const gid_t group = user == nullptr ? owner->group : user->pw_gid;
    const bool groups_set =
        user == nullptr ? setgroups(1, &group) == 0 : initgroups(user->pw_name, group) == 0;
    if (!groups_set || setgid(group) != 0 || setuid(owner->user) != 0)
        return system_error(ErrorKind::kernel,
                            "unable to continue as user id " + std::to_string(owner->user), errno);
    if (user != nullptr) setenv("HOME", user->pw_dir, 1);
    return {};
}

std::string started_by() {
    const passwd* user = getpwuid(getuid());
    std::array<char, 256> host{};
    if (gethostname(host.data(), host.size() - 1) != 0) host = {};
    std::string result = (user != nullptr ? user->pw_name : std::to_string(getuid())) +
                         ("@" + std::string(host.data()));
    const char* sudo = getuid() == 0 ? getenv("SUDO_USER") : nullptr;
    // What somebody has put into the environment does not make a line of its own.
    if (sudo == nullptr || std::string_view(sudo).find_first_of("\r\n") != std::string_view::npos)
        return result;
    return result + " (sudo by " + sudo + ")";
}

Result<> apply_process_options(const config::Config& config) {
    if (config.get_bool("neutral-umask")) umask(0);
    if (!config.has("priority")) return {};
    if (setpriority(PRIO_PROCESS, 0, static_cast<int>(config.get_int("priority"))) != 0)
        return system_error(ErrorKind::kernel, "unable to set the priority of the process", errno);
    return {};
}

/// The kernel's own answer; where /proc is not mounted the path that it was started by. Of a
/// program that was replaced since it was started the kernel says so, in the name: what lies under
/// the name now is what others should be told to run.
std::string program_path() {
    constexpr std::string_view kReplaced = " (deleted)";
    std::error_code failed;
    std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", failed);
    if (!failed && path.native().ends_with(kReplaced) && !std::filesystem::exists(path, failed))
        path = path.native().substr(0, path.native().size() - kReplaced.size());
    if (!failed) return path;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel passes pointers as numbers there.
    const auto* const started_as = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
    if (started_as == nullptr) return "chronos";
    path = std::filesystem::absolute(started_as, failed);
    return failed ? std::string(started_as) : path.string();
}

}  // namespace chronos::requests
