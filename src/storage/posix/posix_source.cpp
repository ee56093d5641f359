#include "storage/posix/posix_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "chronos/base/activity.h"

namespace chronos::storage {
namespace {

class PosixSource final : public io::Source {
public:
    /// `wanted`: how many bytes the range covers; nullopt: to the end, wherever that is.
    PosixSource(os::FileDescriptor fd, std::string path, std::uint64_t offset,
                std::optional<std::uint64_t> wanted)
        : fd_(std::move(fd)), path_(std::move(path)), offset_(offset), wanted_(wanted) {}

    Result<std::size_t> read(io::MutableBytes out) override;

private:
    Error past_end(std::uint64_t missing) const;

    os::FileDescriptor fd_;
    std::string path_;
    std::uint64_t offset_;
    std::optional<std::uint64_t> wanted_;
};

Error PosixSource::past_end(std::uint64_t missing) const {
    return Error(ErrorKind::file_read, "unable to read '" + path_ +
                                           "': it ends at or before byte " +
                                           std::to_string(offset_) + ", " +
                                           std::to_string(missing) + " more are expected");
}

Result<std::size_t> PosixSource::read(io::MutableBytes out) {
    if (wanted_) out = out.first(std::min<std::uint64_t>(out.size(), *wanted_));
    if (out.empty()) return std::size_t{0};
    for (;;) {
        const ssize_t count =
            ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset_));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return system_error(ErrorKind::file_read, "unable to read '" + path_ + "'", errno);
        if (count == 0 && wanted_) return past_end(*wanted_);
        Activity::note();
        const auto read = static_cast<std::size_t>(count);
        offset_ += read;
        if (wanted_) *wanted_ -= read;
        return read;
    }
}

/// A range without a size from beyond the end is an error when read: it wants at least one byte
/// that is not there.
std::optional<std::uint64_t> wanted_bytes(const Range& range, const struct stat& stat) {
    if (!range.size_bytes && range.offset_bytes > static_cast<std::uint64_t>(stat.st_size))
        return 1;
    return range.size_bytes;
}

/// Nothing that anybody has stored: damage of the content, as far as readers go.
Error no_regular_file(const std::string& path) {
    return Error(ErrorKind::format,
                 "unable to open file '" + path + "' for read: it is not a regular file");
}

}  // namespace

Result<std::unique_ptr<io::Source>> open_posix_source(const std::string& path, const Range& range) {
    // O_NONBLOCK: a named pipe of that name must give an error, not wait for a writer.
    os::FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid()) {
        if (errno == ENOENT || errno == ENOTDIR)
            return Error(ErrorKind::not_found,
                         "unable to open missing file '" + path + "' for read");
        if (errno == ENXIO) return no_regular_file(path);  // a socket
        return system_error(ErrorKind::file_open, "unable to open file '" + path + "' for read",
                            errno);
    }
    struct stat stat {};
    if (::fstat(fd.get(), &stat) != 0)
        return system_error(ErrorKind::file_open, "unable to get info for '" + path + "'", errno);
    if (S_ISDIR(stat.st_mode))
        return Error(ErrorKind::not_found,
                     "unable to open file '" + path + "' for read: it is a directory");
    if (!S_ISREG(stat.st_mode)) return no_regular_file(path);
    // Doubles the read-ahead window of the kernel; only a hint, so its result does not matter.
    ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
    return std::make_unique<PosixSource>(std::move(fd), path, range.offset_bytes,
                                         wanted_bytes(range, stat));
}

}  // namespace chronos::storage
