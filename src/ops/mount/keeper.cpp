#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <thread>
#include <utility>

#include "chronos/base/clock.h"
#include "chronos/base/log.h"
#include "chronos/base/process_id.h"
#include "chronos/base/text.h"
#include "chronos/ops/mount/instant.h"
#include "chronos/os/file.h"
#include "chronos/os/process.h"
#include "ops/mount/instant_state.h"
#include "ops/mount/mount_info.h"

namespace chronos::ops::mount {
namespace {

constexpr std::chrono::milliseconds kKeepLook(200);
/// Somebody waits until it is served.
constexpr std::chrono::milliseconds kStartLook(10);
constexpr std::chrono::seconds kUntilServed(120);
constexpr std::chrono::seconds kUntilEnded(10);
/// It kills those of its processes that do not end after five seconds.
constexpr std::chrono::seconds kServerGrace(10);
constexpr std::chrono::seconds kPauseMin(1), kPauseMax(30);
constexpr std::size_t kSaidMax = 65536;

/// What the process says that serves the directory.
class Said {
public:
    /// Takes what is there, without waiting.
    void read_from(int output) {
        char text[4096];
        for (;;) {
            const ssize_t count = ::read(output, text, sizeof text);
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) return;
            // Nobody reads more; what comes is taken, so that it never waits for somebody to do so.
            if (said_.size() < kSaidMax) said_.append(text, static_cast<std::size_t>(count));
        }
    }
    bool has_line() const { return said_.find('\n') != std::string::npos; }
    std::string line() const { return said_.substr(0, said_.find('\n')); }
    std::string all() const { return std::string(trim(said_)); }

private:
    std::string said_;
};

/// When a process was started, by the clock as it is now; 0 if there is none.
std::int64_t start_of(pid_t pid) {
    const std::string system = os::read_or_empty("/proc/stat", std::size_t{1} << 20);
    const std::size_t boot = system.find("btime ");
    if (boot == std::string::npos) return 0;
    const std::string_view since = std::string_view(system).substr(boot + 6);
    const auto booted = parse_uint(since.substr(0, since.find('\n')));
    const auto ticks = process_start_ticks(pid);
    if (!booted || !ticks) return 0;
    return static_cast<std::int64_t>(*booted +
                                     *ticks / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK)));
}

bool is_same(const struct stat& a, const struct stat& b) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// Whether it works in the directory, or at the top of what is mounted nowhere any more, which has
/// the name "/". Of a process that nobody here may look at, or whose directory does not answer, it
/// is said, too: it is not to be taken for gone.
bool may_work_in(pid_t pid, const std::string& path) {
    const std::string process = "/proc/" + std::to_string(pid);
    struct stat works = {}, there = {};
    if (::stat((process + "/cwd").c_str(), &works) != 0) return errno != ENOENT;
    if (::stat(path.c_str(), &there) == 0 && is_same(works, there)) return true;
    char name[2] = {};
    return ::readlink((process + "/cwd").c_str(), name, sizeof name) == 1 && name[0] == '/' &&
           ::stat((process + "/root").c_str(), &there) == 0 && !is_same(works, there);
}

/// Commits of a server whose directory does not answer any more are those that are in its WAL: it
/// cannot go on, and some of them do not notice, and keep the next one from starting.
void end_server(const std::string& path) {
    const pid_t pid = server_of(path);
    if (pid == 0) return;
    log_warn("the server in '" + path + "' (process " + std::to_string(pid) +
             ") is ended: start it again");
    ::kill(pid, SIGQUIT);
    for (const Deadline deadline(kServerGrace); !deadline.passed() && process_start_ticks(pid);)
        std::this_thread::sleep_for(kKeepLook);
    if (process_start_ticks(pid)) ::kill(pid, SIGKILL);
}

/// Waits for the end of it: the status, as waitpid() has it.
Result<int> watch(os::Child& child, Said& said, const Cancellation& cancel) {
    for (;;) {
        if (const auto status = child.ended_within(kKeepLook)) return *status;
        said.read_from(child.output());
        if (!cancel.requested()) continue;
        child.signal(SIGTERM);
        if (const auto status = child.ended_within(kUntilEnded)) return *status;
        child.kill();
        return Error(ErrorKind::cancelled, "the process that serves did not end");
    }
}

/// False if nothing had to be served any more.
Result<bool> wait_until_served(os::Child& child, Said& said, const Cancellation& cancel) {
    for (const Deadline deadline(kUntilServed);;) {
        const auto status = child.ended_within(kStartLook);
        said.read_from(child.output());
        if (status && *status == 0) return false;
        if (status) return Error(ErrorKind::execute, said.all());
        if (said.has_line()) return true;
        CHRONOS_TRY(cancel.check());
        if (deadline.passed())
            return Error(ErrorKind::execute,
                         "it is not served after " + std::to_string(kUntilServed.count()) + " s");
    }
}

/// Nothing is left for which the directory would have to be served.
bool is_over(const std::string& path) {
    const auto mounts = mounts_unasked();
    if (!mounts || std::ranges::find(*mounts, path, &Mount::path) != mounts->end()) return false;
    const InstantStage stage = instant_stage(path);
    return stage == InstantStage::none || stage == InstantStage::given_up;
}

}  // namespace

pid_t server_of(const std::string& path) {
    // Its number, the directory as it calls it, when it was started.
    const std::string file = os::read_or_empty(path + "/postmaster.pid", 4096);
    const auto lines = split(file, '\n');
    const auto pid = lines.size() > 2 ? parse_uint(lines[0]) : std::nullopt;
    const auto begin = lines.size() > 2 ? parse_uint(lines[2]) : std::nullopt;
    if (!pid || *pid <= 1 || !begin) return 0;
    const auto process = static_cast<pid_t>(*pid);
    const std::string name = os::read_or_empty("/proc/" + std::to_string(*pid) + "/comm", 64);
    if (!name.starts_with("postgres") && !name.starts_with("postmaster")) return 0;
    if (may_work_in(process, path)) return process;
    // A process that has got the number since was started at another time.
    constexpr std::int64_t kApart_s = 5;
    const std::int64_t started = start_of(process);
    const auto noted = static_cast<std::int64_t>(*begin);
    return started != 0 && std::abs(started - noted) <= kApart_s ? process : 0;
}

Result<> keep_instant(const KeepRequest& request, const Cancellation& cancel) {
    bool was_ready = false;
    std::chrono::seconds pause = kPauseMin;
    for (;;) {
        os::Child child = CHRONOS_TRY(
            os::Child::start({.arguments = request.command, .output = os::Output::captured_both}));
        Said said;
        const auto served = wait_until_served(child, said, cancel);
        if (!served && !was_ready) return served.error();
        if (served) {
            if (!was_ready) CHRONOS_TRY(request.ready(said.line()));
            was_ready = true;
            pause = kPauseMin;
            if (!*served) return {};
            const int status = CHRONOS_TRY(watch(child, said, cancel));
            if (status == 0 || cancel.requested()) return {};
            log_warn("the process that serves '" + request.path +
                     "' has ended: " + os::describe_status(status));
        } else {
            log_warn("'" + request.path + "' cannot be served: " + served.error().text());
        }
        // Without the data directory nobody finds its tablespaces.
        let_go(request.path);
        for (const std::string& tablespace : instant_tablespaces(request.path)) let_go(tablespace);
        end_server(request.path);
        if (is_over(request.path)) return {};
        for (const Deadline deadline(pause); !deadline.passed();) {
            CHRONOS_TRY(cancel.check());
            std::this_thread::sleep_for(kKeepLook);
        }
        pause = std::min(kPauseMax, pause * 2);
    }
}

}  // namespace chronos::ops::mount
