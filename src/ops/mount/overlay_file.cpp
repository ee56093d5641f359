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
    if (data_) return 0;
    const int how = made_ ? 0 : O_CREAT | O_EXCL;
    os::FileDescriptor opened(::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | how, 0600));
    if (opened.valid()) {
        data_.emplace(std::move(opened), path_);
        made_ = true;
        return 0;
    }
    const int error = errno;
    log_warn(system_error(ErrorKind::file_open, "open '" + path_ + "'", error).text());
    return error == ENOSPC || error == EMFILE || error == ENFILE ? error : EIO;
}

/// What the backup has there, of which whole pages that nobody has written or cut off are kept.
int OverlayFile::put_down(std::uint64_t offset, std::string_view content) {
    if (const int failed = open_data(); failed != 0) return failed;
    for (const ByteRange part : presence_.absent_pages_of({offset, offset + content.size()})) {
        const std::string_view of_part = content.substr(part.begin - offset, part.end - part.begin);
        if (const int failed = data_->write(part.begin, of_part); failed != 0) return failed;
        presence_.add(part);
    }
    return 0;
}

bool OverlayFile::keep(const std::vector<Piece>& pieces) {
    const std::lock_guard lock(mutex_);
    const bool was_open = data_.has_value();
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
            const auto here = static_cast<std::size_t>(end - offset);
            if (!made_) {
                content.assign(here, '\0');  // as in a hole
                return 0;
            }
            if (const int error = open_data(); error != 0) return error;
            return data_->read(offset, here, content);
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
    if (const int error = data_->write(offset, content); error != 0) {
        // A part of it behind the end would be there when the file grows.
        if (range.end > size_bytes_) data_->resize(size_bytes_);
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
        if (const int error = data_->resize(size_bytes); error != 0) return error;
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
