#include "ops/restore/target_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "chronos/base/activity.h"
#include "chronos/os/durable.h"

namespace chronos::ops::restore {
namespace {

constexpr std::size_t kPageSize = 8192;
/// How much is written before the kernel is asked to begin with it.
constexpr std::uint64_t kWriteBehindSize = std::uint64_t{8} << 20;
constexpr std::size_t kReadSize = std::size_t{256} << 10;

bool is_zero(io::Bytes page) {
    // The start of a page in use is its LSN, so that one look settles nearly every page.
    std::uint64_t first = 0;
    std::memcpy(&first, page.data(), sizeof first);
    return first == 0 &&
           std::memcmp(page.data(), page.data() + sizeof first, page.size() - sizeof first) == 0;
}

/// Takes away what must not be written into: a file that has other names (a copy made of hard
/// links, a snapshot), a link that leads anywhere, what is no file.
Result<> make_room(const std::string& path, bool truncate, bool behind_link) {
    struct stat status {};
    const int looked = behind_link ? ::stat(path.c_str(), &status) : ::lstat(path.c_str(), &status);
    if (looked != 0 || !truncate) return {};
    if (S_ISREG(status.st_mode) && status.st_nlink == 1) return {};
    std::error_code code;
    const std::string real = behind_link ? std::filesystem::canonical(path, code).string() : path;
    if (code || ::unlink(real.c_str()) != 0)
        return system_error(ErrorKind::file_remove, "unable to remove '" + path + "'",
                            code ? code.value() : errno);
    return {};
}

/// Its owner may have made a file read-only, as some do with postgresql.auto.conf and keys, or
/// unreadable; it gets the mode of the backup in the end.
os::FileDescriptor open_own(const std::string& path, int flags) {
    constexpr mode_t kOwn = S_IRUSR | S_IWUSR;
    os::FileDescriptor file(::open(path.c_str(), flags, kOwn));
    struct stat status {};
    if (file.get() >= 0 || errno != EACCES) return file;
    if (::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
        ::chmod(path.c_str(), kOwn) == 0)
        return os::FileDescriptor(::open(path.c_str(), flags, kOwn));
    errno = EACCES;
    return file;
}

}  // namespace

TargetFile::TargetFile(const WantedFile& wanted, os::FileDescriptor file, From from,
                       const CopyWatch& watch)
    : wanted_(wanted),
      file_(std::move(file)),
      watch_(watch),
      sparse_(wanted.sparse && from == From::nothing),
      hashed_(from == From::nothing) {}

Error TargetFile::failed(ErrorKind kind, const char* what) const {
    return system_error(kind, std::string("unable to ") + what + " '" + wanted_.path + "'", errno);
}

Result<TargetFile> TargetFile::open(const WantedFile& wanted, From from, const CopyWatch& watch) {
    const std::string& path = wanted.path;
    const bool truncate = from == From::nothing;
    CHRONOS_TRY(make_room(path, truncate, wanted.behind_link));
    // What stands there now is a plain file of one name, or nothing: unless somebody is at work
    // here who may change it, and then not through us.
    const int flags =
        O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | (wanted.behind_link ? 0 : O_NOFOLLOW);
    os::FileDescriptor file = open_own(path, flags);
    struct stat status {};
    if (file.get() < 0 || fstat(file.get(), &status) != 0)
        return system_error(ErrorKind::file_open, "unable to open file '" + path + "' for write",
                            errno);
    if (!S_ISREG(status.st_mode) || status.st_nlink > 1)
        return Error(ErrorKind::file_open, "unable to open file '" + path +
                                               "' for write: it is no plain file, or has "
                                               "other names (hard links)");
    if (truncate && ftruncate(file.get(), 0) != 0)
        return system_error(ErrorKind::file_write, "unable to truncate file '" + path + "'", errno);
    return TargetFile(wanted, std::move(file), from, watch);
}

Result<> TargetFile::make(const WantedFile& wanted, From from, const CopyWatch& watch,
                          const Content& content) {
    TargetFile target = CHRONOS_TRY(open(wanted, from, watch));
    if (from == From::existing) CHRONOS_TRY(target.set_size(wanted.size_bytes));
    CHRONOS_TRY(content(target));
    return target.compare();
}

Result<> TargetFile::replace(const WantedFile& wanted, const CopyWatch& watch,
                             const Content& content) {
    return make(wanted, From::nothing, watch, content);
}

Result<> TargetFile::amend(const WantedFile& wanted, const CopyWatch& watch,
                           const Content& content) {
    return make(wanted, From::existing, watch, content);
}

Result<> TargetFile::replace_with_zeros(const WantedFile& wanted, const CopyWatch& watch) {
    TargetFile target = CHRONOS_TRY(open(wanted, From::nothing, watch));
    if (wanted.size_bytes > 0) CHRONOS_TRY(target.set_size(wanted.size_bytes));
    return target.finish();
}

Result<> TargetFile::replace_with_text(WantedFile wanted, std::string_view text) {
    wanted.size_bytes = text.size();
    const Cancellation never;
    const CopyWatch watch{never, [](std::uint64_t) {}};
    TargetFile target = CHRONOS_TRY(open(wanted, From::nothing, watch));
    CHRONOS_TRY(target.write(io::bytes(text)));
    return target.finish();
}

Result<> TargetFile::settle(const WantedFile& wanted, const CopyWatch& watch) {
    TargetFile target = CHRONOS_TRY(open(wanted, From::existing, watch));
    return target.finish();
}

Result<> TargetFile::shorten(const WantedFile& wanted, const CopyWatch& watch) {
    TargetFile target = CHRONOS_TRY(open(wanted, From::existing, watch));
    return target.set_size(wanted.size_bytes);
}

Result<> TargetFile::compare() {
    const std::string actual =
        hashed_ ? sha1_.hex() : CHRONOS_TRY(checksum_of_file(wanted_.path, watch_.cancel));
    if (actual == wanted_.checksum) return {};
    return Error(ErrorKind::checksum, "error restoring '" + wanted_.path + "': actual checksum '" +
                                          actual + "' does not match expected checksum '" +
                                          wanted_.checksum + "'")
        .with_hint(
            "The file in the repository is damaged; 'verify' finds all that are, "
            "and --set chooses another backup.");
}

Result<> TargetFile::put(std::uint64_t offset_bytes, io::Bytes in) {
    while (!in.empty()) {
        const ssize_t count =
            pwrite(file_.get(), in.data(), in.size(), static_cast<off_t>(offset_bytes));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failed(ErrorKind::file_write, "write");
        Activity::note();
        in = in.subspan(static_cast<std::size_t>(count));
        offset_bytes += static_cast<std::uint64_t>(count);
    }
    end_ = std::max(end_, offset_bytes);
    // Begin writing to disk while the next bytes are still being decompressed; the barrier at the
    // end would otherwise start with everything. A hint only: its failure means nothing.
    if (end_ >= pushed_ + kWriteBehindSize) {
        os::start_write_back(file_.get(), pushed_, end_);
        pushed_ = end_;
    }
    return {};
}

Result<> TargetFile::put_sparse(io::Bytes in) {
    std::uint64_t at = position_;
    std::size_t begin = 0;  // of the bytes to write
    // Only whole pages of the file count, wherever the pieces happen to be cut.
    std::size_t page = (kPageSize - at % kPageSize) % kPageSize;
    for (; page + kPageSize <= in.size(); page += kPageSize) {
        if (!is_zero(in.subspan(page, kPageSize))) continue;
        if (page > begin) CHRONOS_TRY(put(at + begin, in.subspan(begin, page - begin)));
        begin = page + kPageSize;
    }
    if (begin < in.size()) return put(at + begin, in.subspan(begin));
    return {};
}

Result<> TargetFile::write(io::Bytes in) {
    CHRONOS_TRY(watch_.cancel.check());
    if (in.size() > wanted_.size_bytes - position_)
        return Error(ErrorKind::checksum, "error restoring '" + wanted_.path +
                                              "': more than the expected " +
                                              std::to_string(wanted_.size_bytes) + " bytes");
    sha1_.update(in);
    if (sparse_)
        CHRONOS_TRY(put_sparse(in));
    else
        CHRONOS_TRY(put(position_, in));
    position_ += in.size();
    watch_.written(in.size());
    return {};
}

Result<> TargetFile::write_at(std::uint64_t offset_bytes, io::Bytes in) {
    if (hashed_ && offset_bytes == position_) return write(in);
    hashed_ = false;
    CHRONOS_TRY(watch_.cancel.check());
    CHRONOS_TRY(put(offset_bytes, in));
    position_ = std::max(position_, offset_bytes + in.size());
    watch_.written(in.size());
    return {};
}

Result<> TargetFile::set_size(std::uint64_t size_bytes) {
    if (ftruncate(file_.get(), static_cast<off_t>(size_bytes)) != 0)
        return failed(ErrorKind::file_write, "set the size of");
    position_ = end_ = size_bytes;
    return {};
}

Result<> TargetFile::finish() {
    if (!hashed_)
        CHRONOS_TRY(set_size(wanted_.size_bytes));
    else if (position_ > end_)
        CHRONOS_TRY(set_size(position_));
    const FileAttributes& attributes = wanted_.attributes;
    if (attributes.owner &&
        fchown(file_.get(), attributes.owner->user, attributes.owner->group) != 0)
        return failed(ErrorKind::file_owner, "set the owner of");
    if (fchmod(file_.get(), attributes.mode) != 0)
        return failed(ErrorKind::file_mode, "set the mode of");
    const timespec times[2] = {{attributes.modified, 0}, {attributes.modified, 0}};
    if (futimens(file_.get(), times) != 0) return failed(ErrorKind::file_info, "set the time of");
    if (wanted_.sync) CHRONOS_TRY(os::sync_file(file_.get(), wanted_.path));
    if (!file_.close()) return failed(ErrorKind::file_close, "close");
    return {};
}

Result<std::optional<ExistingFile>> look_at_file(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) return std::optional<ExistingFile>{};
        return system_error(ErrorKind::file_info, "unable to get info of '" + path + "'", errno);
    }
    return std::optional(ExistingFile{static_cast<std::uint64_t>(status.st_size),
                                      static_cast<UnixTime>(status.st_mtime),
                                      status.st_nlink > 1,
                                      status.st_mode & 07777u,
                                      {status.st_uid, status.st_gid}});
}

Result<std::string> checksum_of_file(const std::string& path, const Cancellation& cancel) {
    const os::FileDescriptor file = open_own(path, O_RDONLY | O_CLOEXEC);
    if (file.get() < 0)
        return system_error(ErrorKind::file_open, "unable to open file '" + path + "'", errno);
    crypto::Sha1 sha1;
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(kReadSize);
    for (;;) {
        CHRONOS_TRY(cancel.check());
        const ssize_t count = read(file.get(), buffer.get(), kReadSize);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return system_error(ErrorKind::file_read, "unable to read '" + path + "'", errno);
        if (count == 0) return sha1.hex();
        Activity::note();
        sha1.update({buffer.get(), static_cast<std::size_t>(count)});
    }
}

}  // namespace chronos::ops::restore
