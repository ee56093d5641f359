#include "storage/posix/posix_sink.h"
#include "chronos/os/durable.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "chronos/base/activity.h"
#include "chronos/base/process_id.h"
#include "chronos/storage/posix/posix_storage.h"
#include "storage/posix/posix_paths.h"

namespace chronos::storage {
namespace {

/// How much may be written before its write-back is started: enough for large requests to the
/// device, little enough that the barrier at the end finds next to nothing to do.
constexpr std::uint64_t kWriteBackBytes = std::uint64_t{8} * 1024 * 1024;

/// An open file under the name it is written with.
struct OpenFile {
    os::FileDescriptor fd;
    struct stat stat {};
};

class PosixSink final : public io::Sink {
public:
    struct Names {
        std::string final;
        std::string written;  ///< the temporary name when the write is atomic
    };
    PosixSink(os::FileDescriptor fd, Names names, WriteMode mode, bool sync_file,
              WrittenFiles& written_files)
        : fd_(std::move(fd)),
          names_(std::move(names)),
          mode_(mode),
          sync_file_(sync_file),
          written_files_(written_files) {}
    ~PosixSink() override {
        // Half a file is of no use to anybody, and on a full disk its space is wanted back. The
        // lock of an atomic write is held until fd_ goes, so the name cannot be another's file.
        if (!finished_) ::unlink(names_.written.c_str());
    }

    Result<> write(io::Bytes in) override;
    Result<> finish() override;

private:
    void start_write_back();
    Result<> appear_alone();

    os::FileDescriptor fd_;
    Names names_;
    WriteMode mode_;
    bool sync_file_;
    WrittenFiles& written_files_;
    bool finished_ = false;
    std::uint64_t written_ = 0;
    std::uint64_t write_back_from_ = 0;
};

Result<> PosixSink::write(io::Bytes in) {
    while (!in.empty()) {
        const ssize_t count = ::write(fd_.get(), in.data(), in.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return system_error(ErrorKind::file_write, "unable to write '" + names_.written + "'",
                                errno);
        Activity::note();
        in = in.subspan(static_cast<std::size_t>(count));
        written_ += static_cast<std::uint64_t>(count);
    }
    if (written_ - write_back_from_ >= kWriteBackBytes) start_write_back();
    return {};
}

/// Lets the device work while the next bytes are being made. A hint: failures show in the sync.
void PosixSink::start_write_back() {
    os::start_write_back(fd_.get(), write_back_from_, written_);
    write_back_from_ = written_;
}

/// A link, unlike a rename, replaces nothing. Where its answer was lost on the way to a server of
/// files, the second request finds the first one's: then the file has both names.
Result<> PosixSink::appear_alone() {
    if (::link(names_.written.c_str(), names_.final.c_str()) != 0) {
        const int code = errno;
        struct stat now {};
        if (code != EEXIST)
            return system_error(ErrorKind::file_move,
                                "unable to link '" + names_.written + "' as '" + names_.final + "'",
                                code);
        if (::fstat(fd_.get(), &now) != 0 || now.st_nlink < 2)
            return Error(ErrorKind::file_exists, "'" + names_.final + "' is there already");
    }
    ::unlink(names_.written.c_str());
    return {};
}

Result<> PosixSink::finish() {
    if (sync_file_) {
        CHRONOS_TRY(os::sync_file(fd_.get(), names_.written));
    } else if (written_ > write_back_from_) {
        start_write_back();
    }
    // Renamed before it is closed: the lock on the temporary name ends with the descriptor.
    const bool atomic = names_.written != names_.final;
    if (mode_ == WriteMode::exclusive)
        CHRONOS_TRY(appear_alone());
    else if (atomic)
        CHRONOS_TRY(os::rename_file(names_.written, names_.final));
    finished_ = true;
    if (!sync_file_) {
        written_files_.add(names_.final, std::move(fd_));
        return {};
    }
    if (!fd_.close())
        return system_error(ErrorKind::file_close, "unable to close '" + names_.final + "'", errno);
    if (atomic) CHRONOS_TRY(os::sync_directory(os::parent_directory(names_.final)));
    written_files_.add(names_.final, {});
    return {};
}

Result<OpenFile> open_for_write(const std::string& path, const PosixOptions& options,
                                const std::string& existing, bool durable) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    OpenFile file;
    file.fd = os::FileDescriptor(::open(path.c_str(), kFlags, options.file_mode));
    if (!file.fd.valid() && errno == ENOENT) {
        CHRONOS_TRY(make_path_and_parents(os::parent_directory(path), options, durable, existing));
        file.fd = os::FileDescriptor(::open(path.c_str(), kFlags, options.file_mode));
    } else if (file.fd.valid() && durable) {
        CHRONOS_TRY(sync_name_of_unused(os::parent_directory(path), existing));
    }
    if (!file.fd.valid() || ::fstat(file.fd.get(), &file.stat) != 0)
        return system_error(ErrorKind::file_open, "unable to open file '" + path + "' for write",
                            errno);
    return file;
}

/// Takes the temporary name for this sink alone. Two writers of one object exist: an engine that
/// outlived its archiver and the one started in its place push the same segment. Sharing the name
/// they would share the file, and the first rename would publish a mixture.
/// nullopt: the other writer has just finished and the name must be opened again.
Result<bool> own_temporary(const OpenFile& file, const std::string& path) {
    if (::flock(file.fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return Error(ErrorKind::lock_acquire,
                         "unable to write '" + path + "': another process is writing it")
                .as_transient();
        // A file system without locks: the locks of the repository have to do.
        return true;
    }
    struct stat now {};
    return ::stat(path.c_str(), &now) == 0 && now.st_ino == file.stat.st_ino &&
           now.st_dev == file.stat.st_dev;
}

Result<OpenFile> open_temporary(const std::string& path, const PosixOptions& options,
                                const std::string& existing) {
    constexpr int kAttempts = 10;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        OpenFile file = CHRONOS_TRY(open_for_write(path, options, existing, /*durable=*/true));
        if (CHRONOS_TRY(own_temporary(file, path))) return file;
    }
    return Error(ErrorKind::lock_acquire,
                 "unable to write '" + path + "': other processes keep writing it")
        .as_transient();
}

/// Of a temporary name that nobody else writes, on whatever machine: the lock that keeps writers of
/// one object apart may not reach there.
std::string own_part() {
    static std::atomic<unsigned> count{0};
    const ProcessIdentity self = ProcessIdentity::of_this_process();
    return "." + self.boot_id.substr(0, 13) + "-" + std::to_string(self.pid) + "-" +
           std::to_string(self.start_ticks) + "-" + std::to_string(++count);
}

/// Mode and size as if the file were new: it may be a left-over, and open() applied the umask.
Result<> make_pristine(const OpenFile& file, const std::string& path, const PosixOptions& options) {
    if (file.stat.st_size != 0 && ::ftruncate(file.fd.get(), 0) != 0)
        return system_error(ErrorKind::file_open, "unable to truncate '" + path + "'", errno);
    if (options.neutral_umask && (file.stat.st_mode & 07777) != options.file_mode &&
        ::fchmod(file.fd.get(), options.file_mode) != 0)
        return system_error(ErrorKind::file_open, "unable to set mode of '" + path + "'", errno);
    return {};
}

}  // namespace

Result<std::unique_ptr<io::Sink>> open_posix_sink(const std::string& path, WriteMode mode,
                                                  const PosixOptions& options,
                                                  const std::string& existing,
                                                  os::FileSystems& file_systems,
                                                  WrittenFiles& written_files) {
    const bool atomic = mode != WriteMode::plain;
    const std::string own = mode == WriteMode::exclusive ? own_part() : "";
    const std::string written = atomic ? path + own + std::string(kTemporarySuffix) : path;
    OpenFile file =
        CHRONOS_TRY(atomic ? open_temporary(written, options, existing)
                           : open_for_write(written, options, existing, /*durable=*/false));
    CHRONOS_TRY(make_pristine(file, written, options));
    const bool covered =
        CHRONOS_TRY(file_systems.watch(file.stat.st_dev, os::parent_directory(path)));
    return std::make_unique<PosixSink>(std::move(file.fd), PosixSink::Names{path, written}, mode,
                                       /*sync_file=*/atomic || !covered, written_files);
}

}  // namespace chronos::storage
