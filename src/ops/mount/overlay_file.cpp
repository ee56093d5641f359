#include "ops/mount/overlay_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "chronos/base/log.h"

namespace chronos::ops::mount {

OverlayFile::OverlayFile(std::string path, std::uint64_t size_bytes, Fetch fetch)
    : path_(std::move(path)),
      fetch_(std::move(fetch)),
      size_bytes_(size_bytes),
      presence_(size_bytes) {}

OverlayFile::~OverlayFile() {
    if (made_) ::unlink(path_.c_str());
}

std::uint64_t OverlayFile::size_bytes() const {
    const std::lock_guard lock(mutex_);
    return size_bytes_;
}

/// Under the mutex, as the next ones.
int OverlayFile::open_data() {
    if (data_.valid()) return 0;
    const int how = made_ ? 0 : O_CREAT | O_EXCL;
    data_ = os::FileDescriptor(::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | how, 0600));
    if (data_.valid()) {
        made_ = true;
        return 0;
    }
    const int error = errno;
    log_warn(system_error(ErrorKind::file_open, "open '" + path_ + "'", error).text());
    return error == ENOSPC || error == EMFILE || error == ENFILE ? error : EIO;
}

/// Behind the end of the sparse file are zeros, as in its holes.
int OverlayFile::read_data(std::uint64_t offset, std::size_t size, std::string& content) const {
    content.assign(size, '\0');
    if (!data_.valid()) return 0;
    for (std::size_t done = 0; done < size;) {
        const ssize_t count = ::pread(data_.get(), content.data() + done, size - done,
                                      static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno;
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return 0;
}

int OverlayFile::write_data(std::uint64_t offset, std::string_view content) const {
    while (!content.empty()) {
        const ssize_t count =
            ::pwrite(data_.get(), content.data(), content.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno;
        content.remove_prefix(static_cast<std::size_t>(count));
        offset += static_cast<std::size_t>(count);
    }
    return 0;
}

/// What the backup has there, of which whole pages that nobody has written or cut off are kept.
int OverlayFile::put_down(std::uint64_t offset, std::string_view content) {
    if (const int failed = open_data(); failed != 0) return failed;
    const std::uint64_t content_end = offset + content.size();
    for (std::uint64_t at = offset; at < content_end;) {
        const auto absent = presence_.first_absent({at, content_end});
        if (!absent) return 0;
        ByteRange part = *absent;
        if (part.begin < offset) part.begin += Presence::kPage;
        if (part.end > content_end) part.end = content_end / Presence::kPage * Presence::kPage;
        if (part.begin < part.end) {
            const std::string_view of_part =
                content.substr(part.begin - offset, part.end - part.begin);
            if (const int failed = write_data(part.begin, of_part); failed != 0) return failed;
            presence_.add(part);
        }
        at = absent->end;
    }
    return 0;
}

bool OverlayFile::keep(const std::vector<Piece>& pieces) {
    const std::lock_guard lock(mutex_);
    const bool was_open = data_.valid();
    bool kept = true;
    for (const Piece& piece : pieces) {
        const ByteRange range{piece.offset, piece.offset + piece.content.size()};
        // What was overwritten or cut off needs no file.
        if (kept && presence_.first_absent(range))
            kept = put_down(piece.offset, piece.content) == 0 && !presence_.first_absent(range);
    }
    if (!was_open) data_.reset();
    return kept;
}

/// Fetches it without the mutex.
int OverlayFile::take(ByteRange wanted, const fuse::Interrupted& interrupted,
                      std::unique_lock<std::mutex>& lock) {
    std::string fetched;
    lock.unlock();
    const auto size = static_cast<std::size_t>(wanted.end - wanted.begin);
    const int error = fetch_(wanted.begin, size, interrupted, fetched);
    lock.lock();
    if (error != 0) return error;
    if (fetched.size() != size) return EIO;
    return put_down(wanted.begin, fetched);
}

int OverlayFile::read(std::uint64_t offset, std::size_t size, const fuse::Interrupted& interrupted,
                      std::string& content) {
    content.clear();
    std::unique_lock lock(mutex_);
    for (;;) {
        if (offset >= size_bytes_) return 0;
        const std::uint64_t end = std::min<std::uint64_t>(size_bytes_, offset + size);
        const auto absent = presence_.first_absent({offset, end});
        if (!absent) {
            if (made_)
                if (const int error = open_data(); error != 0) return error;
            return read_data(offset, static_cast<std::size_t>(end - offset), content);
        }
        if (const int error = take(*absent, interrupted, lock); error != 0) return error;
    }
}

int OverlayFile::write(std::uint64_t offset, std::string_view content,
                       const fuse::Interrupted& interrupted) {
    if (content.empty()) return 0;
    const ByteRange range{offset, offset + content.size()};
    std::unique_lock lock(mutex_);
    while (const auto needed = presence_.needed_to_write(range))
        if (const int error = take(*needed, interrupted, lock); error != 0) return error;
    if (const int error = open_data(); error != 0) return error;
    if (const int error = write_data(offset, content); error != 0) {
        // A part of it behind the end would be there when the file grows.
        while (range.end > size_bytes_ &&
               ::ftruncate(data_.get(), static_cast<off_t>(size_bytes_)) != 0 && errno == EINTR) {
        }
        return error;
    }
    presence_.add(range);
    size_bytes_ = std::max(size_bytes_, range.end);
    return 0;
}

int OverlayFile::resize(std::uint64_t size_bytes) {
    const std::lock_guard lock(mutex_);
    if (size_bytes < size_bytes_ && made_) {
        if (const int error = open_data(); error != 0) return error;
        // What is beyond would be there again when the file grows.
        while (::ftruncate(data_.get(), static_cast<off_t>(size_bytes)) != 0)
            if (errno != EINTR) return errno;
    }
    presence_.cut(size_bytes);
    size_bytes_ = size_bytes;
    return 0;
}

void OverlayFile::rest() {
    const std::lock_guard lock(mutex_);
    data_.reset();
}

}  // namespace chronos::ops::mount
