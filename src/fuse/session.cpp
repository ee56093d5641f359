#include "chronos/fuse/session.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

/// Nothing changes but by the kernel, but a mount whose process is gone shall not look for long as
/// if it were alive.
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
    WritableFileSystem* writable = nullptr;  ///< the same; null if it may not be written
    const Cancellation* cancel = nullptr;
};

const Served& served_by(fuse_req_t request) {
    return *static_cast<const Served*>(fuse_req_userdata(request));
}

/// Nothing that is thrown reaches the library, which is C: whoever asked gets an error.
template <class Files, class Work>
void answer_by(Files* files, fuse_req_t request, Work work) {
    int error = EIO;
    try {
        error = files == nullptr ? EROFS : work(*files);
    } catch (const std::bad_alloc&) {
        error = ENOMEM;
    } catch (const std::exception& exception) {
        log_warn(std::string("request of the kernel: ") + exception.what());
    }
    // Negative: answered already.
    if (error >= 0) fuse_reply_err(request, error);
}
constexpr int kAnswered = -1;

template <class Work>
void answer(fuse_req_t request, Work work) {
    answer_by(served_by(request).files, request, work);
}
template <class Work>
void change(fuse_req_t request, Work work) {
    answer_by(served_by(request).writable, request, work);
}

/// The end of the mount waits for nobody either. A server is sent signals all the time, and takes
/// it that none of them cuts off what it reads from a disk: one that may be written is as one.
Interrupted interrupted_by(fuse_req_t request) {
    const bool is_for_signals = served_by(request).writable == nullptr;
    return [request, is_for_signals] {
        return served_by(request).cancel->requested() ||
               (is_for_signals && fuse_req_interrupted(request) != 0);
    };
}

Making making_of(fuse_req_t request, mode_t mode) {
    const fuse_ctx* const caller = fuse_req_ctx(request);
    return {caller->uid, caller->gid, mode & 07777};
}

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

// Of what may not be written the nodes stay as long as the mount: nothing counts who knows them.
void on_forget(fuse_req_t request, fuse_ino_t node, uint64_t times) {
    if (WritableFileSystem* const files = served_by(request).writable) files->forget(node, times);
    fuse_reply_none(request);
}
void on_forget_many(fuse_req_t request, size_t count, fuse_forget_data* all) {
    if (WritableFileSystem* const files = served_by(request).writable)
        for (size_t i = 0; i < count; ++i) files->forget(all[i].ino, all[i].nlookup);
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
        if ((file->flags & O_ACCMODE) != O_RDONLY && served_by(request).writable == nullptr)
            return EROFS;
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
        const int error = files.read(node, static_cast<std::uint64_t>(offset), size,
                                     interrupted_by(request), content);
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
        const auto add = [&](std::string_view name, const Attributes& entry, std::uint64_t next) {
            const std::size_t needed =
                add_entry(listing.data() + used, size - used, std::string(name), entry,
                          static_cast<off_t>(next));
            if (needed > size - used) return false;
            used += needed;
            return true;
        };
        const int error = files.list(node, static_cast<std::uint64_t>(offset), add);
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
        status.f_blocks = (totals.size_bytes + 4095) / 4096 + totals.free_bytes / 4096;
        status.f_bfree = status.f_bavail = totals.free_bytes / 4096;
        status.f_files = totals.files;
        status.f_namemax = 255;
        fuse_reply_statfs(request, &status);
        return kAnswered;
    });
}

void reply_entry(fuse_req_t request, const Attributes& made) {
    const fuse_entry_param entry = entry_of(made);
    fuse_reply_entry(request, &entry);
}

void on_create(fuse_req_t request, fuse_ino_t directory, const char* name, mode_t mode,
               fuse_file_info* file) {
    change(request, [&](WritableFileSystem& files) {
        Attributes made;
        if (const int error = files.create(directory, name, making_of(request, mode), made);
            error != 0)
            return error;
        file->keep_cache = 1;
        const fuse_entry_param entry = entry_of(made);
        fuse_reply_create(request, &entry, file);
        return kAnswered;
    });
}

void on_mkdir(fuse_req_t request, fuse_ino_t directory, const char* name, mode_t mode) {
    change(request, [&](WritableFileSystem& files) {
        Attributes made;
        const int error = files.make_directory(directory, name, making_of(request, mode), made);
        if (error != 0) return error;
        reply_entry(request, made);
        return kAnswered;
    });
}

/// By mknod(), or as bind() makes a socket.
void on_mknod(fuse_req_t request, fuse_ino_t directory, const char* name, mode_t mode, dev_t) {
    change(request, [&](WritableFileSystem& files) {
        const Making making = making_of(request, mode);
        Attributes made;
        int error = EPERM;
        if (S_ISREG(mode)) {
            error = files.create(directory, name, making, made);
            if (error == 0) files.release(made.node);
        } else if (S_ISSOCK(mode) || S_ISFIFO(mode)) {
            const Special kind = S_ISSOCK(mode) ? Special::socket : Special::pipe;
            error = files.make_special(directory, name, kind, making, made);
        }
        if (error != 0) return error;
        reply_entry(request, made);
        return kAnswered;
    });
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t directory, const char* name) {
    change(request, [&](WritableFileSystem& files) {
        Attributes made;
        const int error =
            files.make_symlink(directory, name, target, making_of(request, 0777), made);
        if (error != 0) return error;
        reply_entry(request, made);
        return kAnswered;
    });
}

void on_link(fuse_req_t request, fuse_ino_t file, fuse_ino_t directory, const char* name) {
    change(request, [&](WritableFileSystem& files) {
        Attributes now;
        if (const int error = files.link(file, directory, name, now); error != 0) return error;
        reply_entry(request, now);
        return kAnswered;
    });
}

void on_readlink(fuse_req_t request, fuse_ino_t link) {
    change(request, [&](WritableFileSystem& files) {
        std::string target;
        if (const int error = files.read_symlink(link, target); error != 0) return error;
        fuse_reply_readlink(request, target.c_str());
        return kAnswered;
    });
}

void on_unlink(fuse_req_t request, fuse_ino_t directory, const char* name) {
    change(request, [&](WritableFileSystem& files) { return files.unlink(directory, name); });
}

void on_rmdir(fuse_req_t request, fuse_ino_t directory, const char* name) {
    change(request,
           [&](WritableFileSystem& files) { return files.remove_directory(directory, name); });
}

void on_rename(fuse_req_t request, fuse_ino_t directory, const char* name, fuse_ino_t new_directory,
               const char* new_name, unsigned flags) {
    change(request, [&](WritableFileSystem& files) {
        if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0) return EINVAL;
        return files.rename(directory, name, new_directory, new_name, flags != 0);
    });
}

void on_write(fuse_req_t request, fuse_ino_t file, const char* data, size_t size, off_t offset,
              fuse_file_info*) {
    change(request, [&](WritableFileSystem& files) {
        const int error = files.write(file, static_cast<std::uint64_t>(offset), {data, size},
                                      interrupted_by(request));
        if (error != 0) return error;
        fuse_reply_write(request, size);
        return kAnswered;
    });
}

void on_fallocate(fuse_req_t request, fuse_ino_t file, int mode, off_t offset, off_t size,
                  fuse_file_info*) {
    change(request, [&](WritableFileSystem& files) {
        // Whoever wants holes or zeros writes them.
        if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0) return EOPNOTSUPP;
        return files.allocate(file, static_cast<std::uint64_t>(offset),
                              static_cast<std::uint64_t>(size), mode != 0);
    });
}

void on_setattr(fuse_req_t request, fuse_ino_t node, struct stat* status, int which,
                fuse_file_info*) {
    change(request, [&](WritableFileSystem& files) {
        const auto has = [which](int attribute) { return (which & attribute) != 0; };
        Change wanted;
        if (has(FUSE_SET_ATTR_MODE)) wanted.mode = status->st_mode & 07777;
        if (has(FUSE_SET_ATTR_UID)) wanted.user = status->st_uid;
        if (has(FUSE_SET_ATTR_GID)) wanted.group = status->st_gid;
        if (has(FUSE_SET_ATTR_SIZE)) wanted.size = static_cast<std::uint64_t>(status->st_size);
        if (has(FUSE_SET_ATTR_MTIME)) wanted.modified = status->st_mtim.tv_sec;
        if (has(FUSE_SET_ATTR_MTIME_NOW)) wanted.modified = unix_now();
        Attributes now;
        if (const int error = files.change(node, wanted, now); error != 0) return error;
        const struct stat changed = status_of(now);
        fuse_reply_attr(request, &changed, kKnown_s);
        return kAnswered;
    });
}

void on_release(fuse_req_t request, fuse_ino_t file, fuse_file_info*) {
    change(request, [&](WritableFileSystem& files) {
        files.release(file);
        return 0;
    });
}

void on_fsync(fuse_req_t request, fuse_ino_t node, int, fuse_file_info*) {
    change(request, [&](WritableFileSystem& files) { return files.sync(node); });
}

/// All that is changed is changed by the kernel: so it may gather what is written, which for a
/// server is as quick as a file system of its own, and need never ask again what it knows.
void on_init(void*, fuse_conn_info* connection) {
    connection->want |= connection->capable & FUSE_CAP_WRITEBACK_CACHE;
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC |
                                               FUSE_CAP_HANDLE_KILLPRIV);
}

/// What is not here the kernel answers by itself, without asking a second time: a sync, unless that
/// is added, is done when all is written, locks are of this machine, and of attributes there are no
/// others.
void add_writing(fuse_lowlevel_ops& all) {
    all.init = on_init;
    all.create = on_create;
    all.mkdir = on_mkdir;
    all.mknod = on_mknod;
    all.symlink = on_symlink;
    all.link = on_link;
    all.readlink = on_readlink;
    all.unlink = on_unlink;
    all.rmdir = on_rmdir;
    all.rename = on_rename;
    all.write = on_write;
    all.fallocate = on_fallocate;
    all.setattr = on_setattr;
    all.release = on_release;
    // Each entry would be handed out by it, as by a lookup.
    all.readdirplus = nullptr;
}

enum class Kind { read_only, writable, durable };

fuse_lowlevel_ops operations(Kind kind) {
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
    if (kind != Kind::read_only) add_writing(all);
    if (kind == Kind::durable) all.fsync = all.fsyncdir = on_fsync;
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

std::string options_of(const MountRequest& request, bool writable) {
    std::string options = writable ? "rw" : "ro";
    options += ",nosuid,nodev,noatime,default_permissions,subtype=chronos,fsname=" + request.source;
    if (request.for_all_users) options += ",allow_other";
    return options;
}

/// What libfuse3 leaves to fusermount3 or to root. The device, which is answered through.
Result<os::FileDescriptor> mount_device(const MountRequest& request, bool writable) {
    os::FileDescriptor device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!device.valid())
        return system_error(ErrorKind::kernel, "unable to mount: open /dev/fuse", errno);
    std::string options = "fd=" + std::to_string(device.get()) +
                          ",rootmode=40000,user_id=" + std::to_string(geteuid()) +
                          ",group_id=" + std::to_string(getegid()) + ",default_permissions";
    if (request.for_all_users) options += ",allow_other";
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOATIME |
                                (writable ? 0UL : static_cast<unsigned long>(MS_RDONLY));
    if (::mount(request.source.c_str(), request.path.c_str(), kFileSystemType, flags,
                options.c_str()) != 0)
        return system_error(ErrorKind::kernel, "unable to mount on '" + request.path + "'", errno);
    return device;
}

/// Of a process that has been root before, as most commands that root starts, what /proc has about
/// it belongs to root: it may write there as long as this lives.
class OwnerOfItsProc {
public:
    OwnerOfItsProc() { prctl(PR_SET_DUMPABLE, 1); }
    ~OwnerOfItsProc() {
        if (before_ != 1) prctl(PR_SET_DUMPABLE, 0);
    }
    OwnerOfItsProc(const OwnerOfItsProc&) = delete;
    OwnerOfItsProc& operator=(const OwnerOfItsProc&) = delete;

private:
    const int before_ = prctl(PR_GET_DUMPABLE);
};

/// One line into a file that takes it in one piece.
bool write_line(const char* path, const std::string& line) {
    const os::FileDescriptor file(::open(path, O_WRONLY | O_CLOEXEC));
    return file.valid() &&
           ::write(file.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

}  // namespace

Result<> check_usable() {
    CHRONOS_TRY(check_device());
    try {
        fuse_set_log_func(receive_message);
    } catch (const std::runtime_error& missing) {
        return Error(ErrorKind::feature_not_supported,
                     std::string("unable to mount: ") + missing.what())
            .with_hint("Install package 'fuse3'.");
    }
    return {};
}

namespace {

Result<> enter_own_namespace() {
    const uid_t user = geteuid();
    const gid_t group = getegid();
    const auto own = [](unsigned id) {
        return std::to_string(id) + " " + std::to_string(id) + " 1";
    };
    if (user == 0) {
        if (unshare(CLONE_NEWNS) != 0)
            return system_error(ErrorKind::kernel, "make a namespace for mounts", errno);
    } else {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
            Error error = system_error(
                ErrorKind::feature_not_supported,
                "make a namespace for mounts of user id " + std::to_string(user), errno);
            return std::move(error).with_hint(
                "The system keeps its users from having namespaces of their own: see sysctl "
                "user.max_user_namespaces and kernel.unprivileged_userns_clone, and what a "
                "container is permitted.");
        }
        const OwnerOfItsProc owner;
        // Nobody but itself is known in there.
        if (!write_line("/proc/self/setgroups", "deny") ||
            !write_line("/proc/self/uid_map", own(user)) ||
            !write_line("/proc/self/gid_map", own(group)))
            return system_error(ErrorKind::kernel, "be the same user in a namespace for mounts",
                                errno);
    }
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
        return system_error(ErrorKind::kernel, "keep mounts from being seen by others", errno);
    return {};
}

}  // namespace

Result<> keep_mounts_to_myself() {
    // Later there may be more threads, and another reason why it cannot be.
    static const Result<> entered = enter_own_namespace();
    return entered;
}

struct Session::State {
    Served served;
    fuse_args arguments = {};
    fuse_session* session = nullptr;
    bool mounted = false;
    std::string own_mount;  ///< where this process has mounted it itself

    // One thread at a time waits for a request; who has got one lets the next one wait.
    std::mutex receiving;
    std::mutex mutex;
    unsigned threads = 0;
    unsigned waiting = 0;  ///< for a request, or for their turn to
    std::vector<std::thread> started;

    ~State() {
        if (!own_mount.empty()) umount2(own_mount.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
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
    return mount(files, nullptr, request);
}

Result<std::unique_ptr<Session>> Session::mount(WritableFileSystem& files,
                                                const MountRequest& request) {
    return mount(files, &files, request);
}

Result<std::unique_ptr<Session>> Session::mount(FileSystem& files, WritableFileSystem* writable,
                                                const MountRequest& request) {
    CHRONOS_TRY(check_usable());
    auto state = std::make_unique<State>();
    state->served.files = &files;
    state->served.writable = writable;
    std::vector<std::string> arguments{"chronos"};
    std::string place = request.path;
    os::FileDescriptor device;
    if (request.by_myself) {
        device = CHRONOS_TRY(mount_device(request, writable != nullptr));
        state->own_mount = request.path;
        place = "/dev/fd/" + std::to_string(device.get());
    } else {
        arguments.insert(arguments.end(), {"-o", options_of(request, writable != nullptr)});
    }
    for (const std::string& argument : arguments)
        if (fuse_opt_add_arg(&state->arguments, argument.c_str()) != 0) throw std::bad_alloc();
    static const fuse_lowlevel_ops reading = operations(Kind::read_only),
                                   writing = operations(Kind::writable),
                                   keeping = operations(Kind::durable);
    const fuse_lowlevel_ops& all = writable == nullptr      ? reading
                                   : writable->is_durable() ? keeping
                                                            : writing;
    state->session = fuse_session_new(&state->arguments, &all, sizeof all, &state->served);
    if (state->session == nullptr || fuse_session_mount(state->session, place.c_str()) != 0) {
        const std::lock_guard lock(last_message_mutex);
        Error error(ErrorKind::kernel, "unable to mount on '" + request.path + "'" +
                                           (last_message.empty() ? "" : ": " + last_message));
        if (geteuid() != 0 && !has_helper())
            return std::move(error).with_hint(
                "Who is not root needs fusermount3: install package 'fuse3'.");
        return std::move(error).with_hint("Who is not root must own the directory.");
    }
    device.release();  // the session's
    state->mounted = true;
    const int descriptor = fuse_session_fd(state->session);
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
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
