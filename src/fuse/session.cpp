#include "chronos/fuse/session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/os/file.h"
#include "fuse/library.h"

namespace chronos::fuse {
namespace {

/// Nothing ever changes, but a mount whose process is gone shall not look for long as if it were
/// alive.
constexpr double kKnown_s = 10;
/// How often a request to stop is looked for.
constexpr int kLook_ms = 200;

std::mutex last_message_mutex;
std::string last_message;  ///< of the library, for the error that its caller makes

extern "C" void receive_message(fuse_log_level level, const char* format, va_list arguments) {
    char text[512];
    std::vsnprintf(text, sizeof text, format, arguments);
    const std::lock_guard lock(last_message_mutex);
    last_message = trim(text);
    log(level <= FUSE_LOG_WARNING ? LogLevel::detail : LogLevel::debug, "libfuse: " + last_message);
}

struct stat status_of(const Attributes& attributes) {
    struct stat status = {};
    status.st_ino = attributes.node;
    status.st_mode = attributes.mode;
    status.st_size = static_cast<off_t>(attributes.size);
    status.st_blocks = static_cast<blkcnt_t>((attributes.size + 511) / 512);
    status.st_blksize = 131072;
    status.st_nlink = attributes.links;
    status.st_uid = attributes.user;
    status.st_gid = attributes.group;
    status.st_mtim.tv_sec = status.st_ctim.tv_sec = status.st_atim.tv_sec = attributes.modified;
    return status;
}

fuse_entry_param entry_of(const Attributes& attributes) {
    fuse_entry_param entry = {};
    entry.ino = attributes.node;
    entry.attr = status_of(attributes);
    entry.attr_timeout = entry.entry_timeout = kKnown_s;
    return entry;
}

/// What every request is answered with.
struct Served {
    FileSystem* files = nullptr;
    const Cancellation* cancel = nullptr;
};

const Served& served_by(fuse_req_t request) {
    return *static_cast<const Served*>(fuse_req_userdata(request));
}

/// Nothing that is thrown reaches the library, which is C: whoever asked gets an error.
template <class Work>
void answer(fuse_req_t request, Work work) {
    int error = EIO;
    try {
        error = work(*served_by(request).files);
    } catch (const std::bad_alloc&) {
        error = ENOMEM;
    } catch (const std::exception& exception) {
        log_warn(std::string("request of the kernel: ") + exception.what());
    }
    // Negative: answered already.
    if (error >= 0) fuse_reply_err(request, error);
}
constexpr int kAnswered = -1;

void on_lookup(fuse_req_t request, fuse_ino_t directory, const char* name) {
    answer(request, [&](FileSystem& files) {
        Attributes found;
        const int error = files.lookup(directory, name, found);
        if (error != 0 && error != ENOENT) return error;
        // Node 0: there is none, and none will come.
        const fuse_entry_param entry = entry_of(error == 0 ? found : Attributes{});
        fuse_reply_entry(request, &entry);
        return kAnswered;
    });
}

// Nodes stay as long as the mount: nothing counts who knows them.
void on_forget(fuse_req_t request, fuse_ino_t, uint64_t) {
    fuse_reply_none(request);
}
void on_forget_many(fuse_req_t request, size_t, fuse_forget_data*) {
    fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
    answer(request, [&](FileSystem& files) {
        Attributes found;
        if (const int error = files.attributes(node, found); error != 0) return error;
        const struct stat status = status_of(found);
        fuse_reply_attr(request, &status, kKnown_s);
        return kAnswered;
    });
}

void on_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
    answer(request, [&](FileSystem& files) {
        if ((file->flags & O_ACCMODE) != O_RDONLY) return EROFS;
        Opened how;
        if (const int error = files.open(node, how); error != 0) return error;
        file->direct_io = how.size_unknown;
        file->keep_cache = !how.size_unknown;
        fuse_reply_open(request, file);
        return kAnswered;
    });
}

void on_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info*) {
    answer(request, [&](FileSystem& files) {
        std::string content;
        // The end of the mount waits for nobody either.
        const Interrupted interrupted = [&] {
            return fuse_req_interrupted(request) != 0 || served_by(request).cancel->requested();
        };
        const int error =
            files.read(node, static_cast<std::uint64_t>(offset), size, interrupted, content);
        if (error != 0) return error;
        fuse_reply_buf(request, content.data(), content.size());
        return kAnswered;
    });
}

/// Both ways of listing differ in what an entry is.
template <class Add>
void list(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, Add add_entry) {
    answer(request, [&](FileSystem& files) {
        std::string listing(size, '\0');
        std::size_t used = 0;
        off_t number = offset;
        const int error = files.list(node, static_cast<std::uint64_t>(offset),
                                     [&](std::string_view name, const Attributes& entry) {
                                         const std::string text(name);
                                         const std::size_t needed =
                                             add_entry(listing.data() + used, size - used, text,
                                                       entry, number + 1);
                                         if (needed > size - used) return false;
                                         used += needed;
                                         ++number;
                                         return true;
                                     });
        if (error != 0) return error;
        fuse_reply_buf(request, listing.data(), used);
        return kAnswered;
    });
}

void on_readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info*) {
    list(request, node, size, offset,
         [&](char* at, std::size_t left, const std::string& name, const Attributes& entry,
             off_t next) {
             const struct stat status = status_of(entry);
             return fuse_add_direntry(request, at, left, name.c_str(), &status, next);
         });
}

void on_readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                    fuse_file_info*) {
    list(request, node, size, offset,
         [&](char* at, std::size_t left, const std::string& name, const Attributes& entry,
             off_t next) {
             const fuse_entry_param parameters = entry_of(entry);
             return fuse_add_direntry_plus(request, at, left, name.c_str(), &parameters, next);
         });
}

void on_statfs(fuse_req_t request, fuse_ino_t) {
    answer(request, [&](FileSystem& files) {
        const Totals totals = files.totals();
        struct statvfs status = {};
        status.f_bsize = status.f_frsize = 4096;
        status.f_blocks = (totals.size_bytes + 4095) / 4096;
        status.f_files = totals.files;
        status.f_namemax = 255;
        fuse_reply_statfs(request, &status);
        return kAnswered;
    });
}

fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops all = {};
    all.lookup = on_lookup;
    all.forget = on_forget;
    all.forget_multi = on_forget_many;
    all.getattr = on_getattr;
    all.open = on_open;
    all.read = on_read;
    all.readdir = on_readdir;
    all.readdirplus = on_readdirplus;
    all.statfs = on_statfs;
    return all;
}

/// Why the device cannot be opened, with what to do; asked before the library is, which only says
/// on standard error that it failed.
Result<> check_device() {
    const os::FileDescriptor device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (device.valid()) return {};
    const int error = errno;
    if (error == ENOENT || error == ENODEV || error == ENXIO)
        return Error(ErrorKind::feature_not_supported,
                     "unable to mount: this machine has no /dev/fuse")
            .with_hint(
                "Load it with \"modprobe fuse\"; give a container the device "
                "(--device /dev/fuse --cap-add SYS_ADMIN). Without it the restore command "
                "makes a copy.");
    Error failed =
        error == EACCES || error == EPERM
            ? Error(ErrorKind::access, "unable to mount: user id " + std::to_string(geteuid()) +
                                           " may not open /dev/fuse")
            : system_error(ErrorKind::kernel, "unable to mount: open /dev/fuse", error);
    return std::move(failed).with_hint(
        "Its mode is usually 0666 (chmod 666 /dev/fuse); a container must be permitted to use the "
        "device. Root may mount.");
}

bool has_helper() {
    const char* const path = std::getenv("PATH");
    std::vector<std::string> places{"/usr/bin", "/bin", "/usr/local/bin"};
    for (const std::string_view place : split(path == nullptr ? "" : path, ':'))
        places.emplace_back(place);
    return std::ranges::any_of(places, [](const std::string& place) {
        return ::access((place + "/fusermount3").c_str(), X_OK) == 0;
    });
}

}  // namespace

struct Session::State {
    Served served;
    fuse_args arguments = {};
    fuse_session* session = nullptr;
    bool mounted = false;

    // One thread at a time waits for a request; who has got one lets the next one wait.
    std::mutex receiving;
    std::mutex mutex;
    unsigned threads = 0;
    unsigned waiting = 0;  ///< for a request, or for their turn to
    std::vector<std::thread> started;

    ~State() {
        if (mounted) fuse_session_unmount(session);
        if (session != nullptr) fuse_session_destroy(session);
        if (arguments.allocated != 0) fuse_opt_free_args(&arguments);
    }

    bool over() const { return served.cancel->requested() || fuse_session_exited(session) != 0; }
    bool receive(fuse_buf& buffer);
    void work();
    void start_another();
};

/// False when there is nothing more to come.
bool Session::State::receive(fuse_buf& buffer) {
    const std::lock_guard lock(receiving);
    while (!over()) {
        pollfd device{fuse_session_fd(session), POLLIN, 0};
        const int ready = poll(&device, 1, kLook_ms);
        if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
        const int size = fuse_session_receive_buf(session, &buffer);
        if (size > 0) return true;
        if (size == -EINTR || size == -EAGAIN) continue;
        return false;  // unmounted
    }
    return false;
}

void Session::State::start_another() {
    const std::lock_guard lock(mutex);
    if (waiting > 0 || threads >= kThreadsMax) return;
    ++threads;
    ++waiting;
    started.emplace_back([this] { work(); });
}

void Session::State::work() {
    fuse_buf buffer = {};
    for (;;) {
        const bool received = receive(buffer);
        {
            const std::lock_guard lock(mutex);
            --waiting;
        }
        if (!received) break;
        start_another();
        fuse_session_process_buf(session, &buffer);
        const std::lock_guard lock(mutex);
        ++waiting;
    }
    std::free(buffer.mem);
}

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::mount(FileSystem& files, const MountRequest& request) {
    CHRONOS_TRY(check_device());
    auto state = std::make_unique<State>();
    state->served.files = &files;
    try {
        fuse_set_log_func(receive_message);
    } catch (const std::runtime_error& missing) {
        return Error(ErrorKind::feature_not_supported,
                     std::string("unable to mount: ") + missing.what())
            .with_hint("Install package 'fuse3'.");
    }
    std::string options =
        "ro,nosuid,nodev,noatime,default_permissions,subtype=chronos,fsname=" + request.source;
    if (request.for_all_users) options += ",allow_other";
    for (const std::string& argument : {std::string("chronos"), std::string("-o"), options})
        if (fuse_opt_add_arg(&state->arguments, argument.c_str()) != 0) throw std::bad_alloc();
    static const fuse_lowlevel_ops all = operations();
    state->session = fuse_session_new(&state->arguments, &all, sizeof all, &state->served);
    if (state->session == nullptr ||
        fuse_session_mount(state->session, request.path.c_str()) != 0) {
        const std::lock_guard lock(last_message_mutex);
        Error error(ErrorKind::kernel, "unable to mount on '" + request.path + "'" +
                                           (last_message.empty() ? "" : ": " + last_message));
        if (geteuid() != 0 && !has_helper())
            return std::move(error).with_hint(
                "Who is not root needs fusermount3: install package 'fuse3'.");
        return std::move(error).with_hint("Who is not root must own the directory.");
    }
    state->mounted = true;
    const int device = fuse_session_fd(state->session);
    fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_NONBLOCK);
    fcntl(device, F_SETFD, FD_CLOEXEC);
    return std::unique_ptr<Session>(new Session(std::move(state)));
}

Result<> Session::serve(const Cancellation& cancel) {
    state_->served.cancel = &cancel;
    state_->start_another();
    // Those that are started meanwhile are behind those that are waited for.
    for (std::size_t i = 0;; ++i) {
        std::thread thread;
        {
            const std::lock_guard lock(state_->mutex);
            if (i == state_->started.size()) break;
            thread = std::move(state_->started[i]);
        }
        thread.join();
    }
    return {};
}

}  // namespace chronos::fuse
