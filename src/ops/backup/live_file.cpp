#include "ops/backup/live_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "chronos/base/activity.h"

namespace chronos::ops::backup {

Result<std::optional<LiveFile>> LiveFile::open(const std::string& path) {
    int descriptor = -1;
    do descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    while (descriptor < 0 && errno == EINTR);
    if (descriptor >= 0) return std::optional(LiveFile(descriptor, path));
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<LiveFile>{};
    return system_error(ErrorKind::file_open, "unable to open file '" + path + "' for read", errno);
}

LiveFile::LiveFile(LiveFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

LiveFile::~LiveFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::size_t> LiveFile::read_at(std::uint64_t offset_bytes, io::MutableBytes out) {
    std::size_t filled = 0;
    while (filled < out.size()) {
        const ssize_t count = ::pread(descriptor_, out.data() + filled, out.size() - filled,
                                      static_cast<off_t>(offset_bytes + filled));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return system_error(ErrorKind::file_read, "unable to read '" + path_ + "'", errno);
        if (count == 0) break;
        Activity::note();
        filled += static_cast<std::size_t>(count);
    }
    return filled;
}

}  // namespace chronos::ops::backup
