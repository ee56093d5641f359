#include "ops/mount/lower_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "chronos/base/log.h"
#include "chronos/os/durable.h"

namespace chronos::ops::mount {

int MachineFile::read(std::uint64_t offset, std::size_t size, std::string& content) const {
    content.assign(size, '\0');
    for (std::size_t done = 0; done < size;) {
        const ssize_t count = ::pread(file_.get(), content.data() + done, size - done,
                                      static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno;
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return 0;
}

int MachineFile::write(std::uint64_t offset, std::string_view content) {
    while (!content.empty()) {
        const ssize_t count =
            ::pwrite(file_.get(), content.data(), content.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno;
        content.remove_prefix(static_cast<std::size_t>(count));
        offset += static_cast<std::size_t>(count);
    }
    return 0;
}

int MachineFile::resize(std::uint64_t size_bytes) {
    while (::ftruncate(file_.get(), static_cast<off_t>(size_bytes)) != 0)
        if (errno != EINTR) return errno;
    return 0;
}

int MachineFile::allocate(std::uint64_t offset, std::uint64_t size_bytes, bool keep_size) {
    std::uint64_t before = 0;
    if (const int error = size(before); error != 0) return error;
    int error = 0;
    do {
        error = ::fallocate(file_.get(), keep_size ? FALLOC_FL_KEEP_SIZE : 0,
                            static_cast<off_t>(offset), static_cast<off_t>(size_bytes)) == 0
                    ? 0
                    : errno;
    } while (error == EINTR);
    if (error == 0) return 0;
    // Some file systems have got half of the way when there is no more room.
    std::uint64_t now = 0;
    if (size(now) == 0 && now != before) resize(before);
    return error;
}

int MachineFile::size(std::uint64_t& size_bytes) const {
    struct stat status = {};
    if (::fstat(file_.get(), &status) != 0) return errno;
    size_bytes = static_cast<std::uint64_t>(status.st_size);
    return 0;
}

void MachineFile::start_write_back(std::uint64_t offset, std::uint64_t end) const {
    os::start_write_back(file_.get(), offset, end);
}

int MachineFile::sync() {
    const auto synced = os::sync_file(file_.get(), path_);
    if (synced) return 0;
    log(LogLevel::error, synced.error().text());
    return EIO;
}

}  // namespace chronos::ops::mount
