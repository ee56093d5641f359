// Lock and stop files: docs/format/locks.md, Lock files and docs/format/locks.md, Stop files.
#include "chronos/repo/local/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/os/local_file.h"
#include "repo/json_text.h"

namespace chronos::repo {
namespace {

constexpr mode_t kFileMode = 0640;
constexpr mode_t kPathMode = 0750;
constexpr mode_t kStopPathMode = 0770;  // whoever pushes WAL must be able to look
constexpr std::size_t kContentSizeMax = 4096;
/// `info` and the like hold a lock for a moment when they look at it: that must not fail a backup.
constexpr int kAttempts = 10;
constexpr std::chrono::milliseconds kPause(25);

std::string_view lock_type_name(LockType type) {
    switch (type) {
        case LockType::archive: return "archive";
        case LockType::backup: return "backup";
        case LockType::restore: return "restore";
        case LockType::hold: return "hold";
    }
    return "";
}

/// There are no locks at a place that nobody named: somebody forgot to hand it on.
void require_given(const std::string& lock_path) {
    if (lock_path.empty()) throw std::logic_error("no lock path was given");
}

std::string stanza_file_name(const LockRequest& request) {
    return request.lock_path + "/" + request.stanza + "-" +
           std::string(lock_type_name(request.type)) + ".lock";
}

std::string file_name(const LockRequest& request) {
    return request.lock_path + "/" + request.stanza + "-" +
           std::string(lock_type_name(request.type)) + "-" + std::to_string(request.repo_key) +
           ".lock";
}

struct Content {
    std::string exec_id;
    int pid = 0;
    std::optional<std::uint64_t> size_bytes;
    std::optional<std::uint64_t> size_complete_bytes;
};

std::optional<Content> parse_content(std::string_view text) {
    Content content;
    JsonReader reader(text);
    std::string_view key;
    for (reader.begin_object(); reader.next_key(key);) {
        if (key == "execId")
            content.exec_id = reader.string();
        else if (key == "pid")
            content.pid = static_cast<int>(reader.number());
        else if (key == "sz")
            content.size_bytes = reader.number();
        else if (key == "szCplt")
            content.size_complete_bytes = reader.number();
        else
            reader.skip();
    }
    if (!reader.finished() || content.pid <= 0) return std::nullopt;
    return content;
}

std::optional<Content> read_content(int descriptor) {
    char text[kContentSizeMax];
    const ssize_t size = ::pread(descriptor, text, sizeof text, 0);
    if (size <= 0) return std::nullopt;
    return parse_content(std::string_view(text, static_cast<std::size_t>(size)));
}

/// Over the old content and then cut, never empty in between: a reader that finds no JSON takes
/// the lock for stale.
bool write_content(int descriptor, const std::string& text) {
    const auto size = static_cast<off_t>(text.size());
    return ::pwrite(descriptor, text.data(), text.size(), 0) == size &&
           ::ftruncate(descriptor, size) == 0;
}

std::string content_text(const std::string& exec_id, std::optional<std::uint64_t> size_bytes,
                         std::uint64_t size_complete_bytes, std::uint64_t percent_hundredths) {
    std::string text = "{\"execId\":";
    append_json_string(text, exec_id);
    if (size_bytes) text += ",\"pctCplt\":" + std::to_string(percent_hundredths);
    text += ",\"pid\":" + std::to_string(::getpid());
    if (size_bytes)
        text += ",\"sz\":" + std::to_string(*size_bytes) +
                ",\"szCplt\":" + std::to_string(size_complete_bytes);
    return text + "}";
}

Error lock_error(const std::string& path, int error_number, const std::optional<Content>& holder) {
    const std::string what = "unable to acquire lock on file '" + path + "'";
    if (error_number != EWOULDBLOCK)
        return system_error(ErrorKind::lock_acquire, what, error_number);
    // Worded as pgBackRest does, for scripts that look for it.
    Error error(ErrorKind::lock_acquire,
                what + ": " + std::generic_category().message(error_number));
    if (holder)
        error = std::move(error).with_hint("Process " + std::to_string(holder->pid) + " holds it.");
    return std::move(error).with_hint("is another pgBackRest process running?");
}

Result<os::FileDescriptor> open_lock_file(const std::string& path) {
    os::FileDescriptor file = os::open_local_file(path, O_RDWR, kFileMode);
    if (!file.valid() && errno == ENOENT) {
        CHRONOS_TRY(os::make_local_path(std::filesystem::path(path).parent_path(), kPathMode));
        file = os::open_local_file(path, O_RDWR, kFileMode);
    }
    if (!file.valid()) return lock_error(path, errno, {});
    return file;
}

/// The file that is locked may have been unlinked by its former holder after we opened it.
bool still_there(int descriptor, const std::string& path) {
    struct stat opened = {};
    struct stat named = {};
    return ::fstat(descriptor, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

/// Opens `path` and locks it: LOCK_EX, or LOCK_SH against holders of the former only. Without a
/// descriptor if its holder is the same command.
Result<os::FileDescriptor> lock_file(const std::string& path, int operation,
                                     const std::string& exec_id) {
    int failure = EWOULDBLOCK;
    std::optional<Content> holder;
    for (int attempt = 0; attempt < kAttempts;) {
        os::FileDescriptor file = CHRONOS_TRY(open_lock_file(path));
        if (::flock(file.get(), operation | LOCK_NB) == 0) {
            if (!still_there(file.get(), path)) continue;
            if (!write_content(file.get(), content_text(exec_id, {}, 0, 0)))
                return system_error(ErrorKind::file_write,
                                    "unable to write lock file '" + path + "'", errno);
            return file;
        }
        failure = errno;
        holder = read_content(file.get());
        if (failure != EWOULDBLOCK) break;
        if (holder && holder->exec_id == exec_id) return os::FileDescriptor();
        ++attempt;
        std::this_thread::sleep_for(kPause);
    }
    return lock_error(path, failure, holder);
}

/// Unlinks what is locked, which only its sole holder may: others would be left with a lock that
/// nobody sees. Whoever has opened it before finds that out and tries again.
void release(const os::FileDescriptor& file, const std::string& path) {
    if (file.get() >= 0 && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 &&
        still_there(file.get(), path))
        ::unlink(path.c_str());
}

/// "<stanza>-<type>.lock" or "<stanza>-<type>-<repository key>.lock"; a stanza may have dashes in
/// its name. Of any stanza if that is "".
bool is_lock_of(std::string_view name, std::string_view stanza) {
    constexpr std::string_view kLockSuffix = ".lock";
    if (!name.ends_with(kLockSuffix)) return false;
    name.remove_suffix(kLockSuffix.size());
    if (const std::size_t dash = name.rfind('-');
        dash != std::string_view::npos && parse_uint(name.substr(dash + 1)))
        name = name.substr(0, dash);
    for (const LockType type :
         {LockType::archive, LockType::backup, LockType::restore, LockType::hold}) {
        const std::string ending = "-" + std::string(lock_type_name(type));
        if (name.ends_with(ending) &&
            (stanza.empty() || name.substr(0, name.size() - ending.size()) == stanza))
            return true;
    }
    return false;
}

/// Whether the process has the very file open that `descriptor` is. A lock ends with its holder,
/// but the text in the file may name a process of former times, whose id is another one's now.
Result<bool> has_open(pid_t pid, int descriptor) {
    struct stat locked = {};
    if (::fstat(descriptor, &locked) != 0) return false;
    std::error_code failure;
    const std::string directory = "/proc/" + std::to_string(pid) + "/fd";
    const std::filesystem::directory_iterator entries(directory, failure);
    if (failure && failure != std::errc::no_such_file_or_directory)
        return system_error(ErrorKind::kernel,
                            "unable to look at what process " + std::to_string(pid) + " has open",
                            failure.value());
    for (const auto& entry : entries) {
        struct stat open = {};
        if (::stat(entry.path().c_str(), &open) == 0 && open.st_dev == locked.st_dev &&
            open.st_ino == locked.st_ino)
            return true;
    }
    return false;
}

/// A handle of the process, which does not become another one's; -1 where there are none.
os::FileDescriptor open_process(pid_t pid) {
#ifdef SYS_pidfd_open
    return os::FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
#else
    return os::FileDescriptor();
#endif
}

int send_signal(const os::FileDescriptor& process, pid_t pid, int number) {
#ifdef SYS_pidfd_send_signal
    if (process.get() >= 0)
        return static_cast<int>(
            ::syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0));
#endif
    return ::kill(pid, number);
}

/// Whether SIGTERM was sent to the process that holds the lock on the file.
Result<bool> terminate_holder(pid_t pid, int file, const std::string& path) {
    // The handle first: what is found out then is about the process that it is of.
    const os::FileDescriptor process = open_process(pid);
    if (::kill(pid, 0) != 0 && errno == ESRCH) return false;
    if (!CHRONOS_TRY(has_open(pid, file))) {
        log_warn("'" + path + "' names process " + std::to_string(pid) +
                 ", which does not have it open: no signal was sent");
        return false;
    }
    if (send_signal(process, pid, SIGTERM) == 0) return true;
    if (errno == ESRCH) return false;
    return system_error(
        ErrorKind::kernel,
        "unable to end process " + std::to_string(pid) + ", which holds '" + path + "'", errno);
}

}  // namespace

struct Lock::State {
    std::string path;
    std::string stanza_path;
    std::string exec_id;
    os::FileDescriptor file;         ///< none when a parent with the same exec id holds the lock
    os::FileDescriptor stanza_file;  ///< the same
    std::optional<std::uint64_t> shown_hundredths;
};

Lock::Lock(std::unique_ptr<State> state) : state_(std::move(state)) {}

Lock::~Lock() {
    release(state_->stanza_file, state_->stanza_path);
    release(state_->file, state_->path);
}

Result<std::unique_ptr<Lock>> Lock::acquire(const LockRequest& request) {
    require_given(request.lock_path);
    auto state = std::make_unique<State>();
    state->path = file_name(request);
    state->stanza_path = stanza_file_name(request);
    state->exec_id = request.exec_id;
    std::unique_ptr<Lock> lock(new Lock(std::move(state)));
    State& held = *lock->state_;
    held.file = CHRONOS_TRY(lock_file(held.path, LOCK_EX, held.exec_id));
    // Shared, so that our own commands for several repositories of a stanza can run side by side.
    held.stanza_file = CHRONOS_TRY(lock_file(held.stanza_path, LOCK_SH, held.exec_id));
    return lock;
}

void Lock::report_progress(std::uint64_t size_bytes, std::uint64_t size_complete_bytes) {
    if (state_->file.get() < 0) return;
    // As a fraction first: sizes times 10000 could overflow.
    const double part = size_bytes == 0 ? 1.0
                                        : static_cast<double>(size_complete_bytes) /
                                              static_cast<double>(size_bytes);
    const auto hundredths = static_cast<std::uint64_t>(std::llround(part * 10000.0));
    if (state_->shown_hundredths && hundredths <= *state_->shown_hundredths + 10) return;
    state_->shown_hundredths = hundredths;
    // A progress that cannot be shown must not fail a backup: the lock itself does not depend on
    // it.
    const std::string text =
        content_text(state_->exec_id, size_bytes, size_complete_bytes, hundredths);
    (void)write_content(state_->file.get(), text);
    if (state_->stanza_file.get() >= 0) (void)write_content(state_->stanza_file.get(), text);
}

LockState look_at_lock(const LockRequest& request) {
    LockState state;
    for (const std::string& path : {file_name(request), stanza_file_name(request)}) {
        const os::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (file.get() < 0 || ::flock(file.get(), LOCK_SH | LOCK_NB) == 0) continue;
        const std::optional<Content> content = read_content(file.get());
        if (!content) continue;
        state.held = true;
        state.pid = content->pid;
        state.size_bytes = content->size_bytes;
        state.size_complete_bytes = content->size_complete_bytes;
        break;
    }
    return state;
}

Result<> check_stop_file(const std::string& lock_path, const std::string& stanza) {
    require_given(lock_path);
    struct Stop {
        std::string file;
        std::string scope;
    };
    for (const Stop& stop :
         {Stop{stanza + ".stop", "stanza " + stanza}, Stop{"all.stop", "all stanzas"}}) {
        struct stat ignored = {};
        const std::string path = lock_path + "/" + stop.file;
        if (::stat(path.c_str(), &ignored) == 0)
            return Error(ErrorKind::stop, "stop file exists for " + stop.scope);
        if (errno != ENOENT && errno != ENOTDIR)
            return system_error(ErrorKind::file_open, "unable to look for '" + path + "'", errno);
    }
    return {};
}

std::string stop_file_path(const std::string& lock_path, const std::string& stanza) {
    require_given(lock_path);
    return lock_path + "/" + (stanza.empty() ? "all" : stanza) + ".stop";
}

Result<bool> has_stop_file(const std::string& lock_path, const std::string& stanza) {
    const std::string path = stop_file_path(lock_path, stanza);
    if (::access(path.c_str(), F_OK) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return system_error(ErrorKind::file_open, "unable to look for '" + path + "'", errno);
}

Result<bool> write_stop_file(const std::string& lock_path, const std::string& stanza) {
    const std::string path = stop_file_path(lock_path, stanza);
    if (CHRONOS_TRY(has_stop_file(lock_path, stanza))) return false;
    CHRONOS_TRY(os::make_local_path(lock_path, kStopPathMode));
    const os::FileDescriptor file = os::open_local_file(path, O_WRONLY, kFileMode);
    if (!file.valid())
        return system_error(ErrorKind::file_open, "unable to create '" + path + "'", errno);
    return true;
}

Result<bool> remove_stop_file(const std::string& lock_path, const std::string& stanza) {
    const std::string path = stop_file_path(lock_path, stanza);
    if (::unlink(path.c_str()) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return system_error(ErrorKind::file_remove, "unable to remove '" + path + "'", errno);
}

Result<std::vector<int>> terminate_lock_holders(const std::string& lock_path,
                                                const std::string& stanza) {
    std::vector<int> terminated;
    std::error_code failure;
    for (const auto& entry : std::filesystem::directory_iterator(lock_path, failure)) {
        const std::string path = entry.path();
        if (!is_lock_of(entry.path().filename().string(), stanza)) continue;
        const os::FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (file.get() < 0) continue;  // released meanwhile
        if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
            release(file, path);
            continue;
        }
        const std::optional<Content> holder = read_content(file.get());
        if (!holder || holder->pid <= 1 || holder->pid == ::getpid() ||
            std::find(terminated.begin(), terminated.end(), holder->pid) != terminated.end())
            continue;
        if (CHRONOS_TRY(terminate_holder(holder->pid, file.get(), path)))
            terminated.push_back(holder->pid);
    }
    if (failure && failure != std::errc::no_such_file_or_directory)
        return system_error(ErrorKind::path_open, "unable to list '" + lock_path + "'",
                            failure.value());
    return terminated;
}

}  // namespace chronos::repo
