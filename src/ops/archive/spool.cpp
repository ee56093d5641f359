#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>

#include "chronos/base/text.h"
#include "chronos/ops/archive/spool.h"
#include "chronos/os/local_file.h"
#include "chronos/pgdata/wal.h"
#include "ops/archive/verified_file.h"

namespace chronos::ops::archive {
namespace {

namespace fs = std::filesystem;

/// A queue of more files than this would take longer to look through than it saves.
constexpr std::size_t kCountMax = 4096;
/// How long to wait for what is being fetched: longer than a fetch takes, shorter than a store
/// that does not answer would hold up recovery, which then asks itself.
constexpr std::chrono::milliseconds kWaitMax(2000);
/// How long what the absence of a file means is not looked into again.
constexpr std::chrono::seconds kAnswerKept(60);

std::int64_t now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

std::vector<std::string> names_in(const std::string& directory) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
    if (!open) return names;
    while (const dirent* entry = ::readdir(open.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    return names;
}

/// Another file system: the kernel copies, nothing passes through this process.
bool copy_file(int from, std::uint64_t size_bytes, const std::string& destination) {
    const std::string temporary = temporary_name(destination);
    os::FileDescriptor to(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!to.valid()) return false;
    std::uint64_t left = size_bytes;
    off_t at = 0;
    while (left > 0) {
        const ssize_t count = ::sendfile(to.get(), from, &at, left);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        left -= static_cast<std::uint64_t>(count);
    }
    const bool closed = ::close(to.release()) == 0;
    if (left == 0 && closed && std::rename(temporary.c_str(), destination.c_str()) == 0)
        return true;
    ::unlink(temporary.c_str());
    return false;
}

}  // namespace

Result<Spool> Spool::of(const repo::SpoolPlace& place, const pgdata::ControlFile& control,
                        std::uint64_t size_max_bytes) {
    Spool spool;
    spool.directory_ = CHRONOS_TRY(repo::spool_directory(place, control.system_id));
    spool.cluster_ = repo::ClusterIdentity::of(control);
    spool.segment_size_ = control.wal_segment_size;
    spool.count_max_ =
        std::min<std::uint64_t>(size_max_bytes / control.wal_segment_size, kCountMax);
    return spool;
}

bool Spool::take(const std::string& segment, const std::string& destination,
                 const Cancellation& cancel) const {
    const Deadline deadline(kWaitMax);
    for (;;) {
        // Before looking for the whole file: it may become whole between the two looks.
        const bool coming = is_being_fetched(segment);
        if (take_ready(segment, destination)) return true;
        if (!coming || deadline.passed() || cancel.requested()) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

bool Spool::take_ready(const std::string& segment, const std::string& destination) const {
    // What was fetched before the server asked where timelines go may be too much now.
    if (must_clear()) return false;
    const std::string name = path(segment);
    const os::FileDescriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid()) return false;
    if (!is_valid(file.get(), segment)) {
        ::unlink(name.c_str());
        return false;
    }
    // As in VerifiedFile::finish(): a file that is replaced would be written out at once.
    ::unlink(destination.c_str());
    if (std::rename(name.c_str(), destination.c_str()) == 0) return true;
    if (errno != EXDEV) return false;
    const bool copied = copy_file(file.get(), segment_size_, destination);
    ::unlink(name.c_str());
    return copied;
}

bool Spool::is_being_fetched(const std::string& segment) const {
    if (::access(temporary_name(path(segment)).c_str(), F_OK) != 0) return false;
    // What a killed process left is not going to become whole.
    const os::FileDescriptor file(::open(lock_path().c_str(), O_RDWR | O_CLOEXEC));
    return file.valid() && ::flock(file.get(), LOCK_EX | LOCK_NB) != 0;
}

/// The checksum was compared when it was fetched; this keeps out what was never fetched.
bool Spool::is_valid(int file, const std::string& segment) const {
    struct stat status = {};
    if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != ::geteuid() ||
        status.st_size != static_cast<off_t>(segment_size_))
        return false;
    std::vector<std::byte> head(pgdata::kWalHeaderSize);
    if (::pread(file, head.data(), head.size(), 0) != static_cast<ssize_t>(head.size()))
        return false;
    return static_cast<bool>(check_segment(head, segment, segment_size_, cluster_));
}

std::vector<std::string> Spool::following(const std::string& segment) const {
    std::vector<std::string> names;
    std::string name = segment;
    while (names.size() < count_max_) {
        name = pgdata::next_wal_segment(name, segment_size_);
        names.push_back(name);
    }
    return names;
}

bool Spool::is_next(const std::string& segment, const std::string& next) const {
    return pgdata::next_wal_segment(segment, segment_size_) == next;
}

bool Spool::is_low(const std::string& segment) const {
    const std::vector<std::string> wanted = following(segment);
    const std::vector<std::string> names = names_in(directory_);
    const auto ready = std::count_if(names.begin(), names.end(), [&](const std::string& name) {
        return std::binary_search(wanted.begin(), wanted.end(), name);
    });
    return static_cast<std::size_t>(ready) * 2 <= count_max_;
}

Result<> Spool::make_directory() const {
    struct stat status = {};
    if (::lstat(directory_.c_str(), &status) != 0) {
        CHRONOS_TRY(os::make_local_path(fs::path(directory_).parent_path()));
        CHRONOS_TRY(os::make_local_path(directory_, 0700));
        if (::lstat(directory_.c_str(), &status) != 0)
            return system_error(ErrorKind::file_info, "look at '" + directory_ + "'", errno);
    }
    // Whoever else could write here would decide what is replayed.
    if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 022) != 0)
        return Error(ErrorKind::file_owner, "'" + directory_ + "' is not ours alone");
    return {};
}

Result<std::optional<os::FileDescriptor>> Spool::lock() const {
    CHRONOS_TRY(make_directory());
    os::FileDescriptor file(::open(lock_path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file.valid())
        return system_error(ErrorKind::file_open, "open '" + lock_path() + "'", errno);
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return std::optional<os::FileDescriptor>{};
    return std::optional(std::move(file));
}

bool Spool::is_locked_by(int lock) const {
    struct stat own = {};
    struct stat there = {};
    return ::fstat(lock, &own) == 0 && ::stat(lock_path().c_str(), &there) == 0 &&
           own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

bool Spool::first_to_say() const {
    if (!make_directory()) return false;
    const os::FileDescriptor file(
        ::open(said_path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    return file.valid();
}

std::optional<Spool::Asked> Spool::last_asked() const {
    const os::FileDescriptor file(::open(asked_path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    struct stat status = {};
    std::array<char, 64> text{};
    if (!file.valid() || ::fstat(file.get(), &status) != 0) return std::nullopt;
    const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
    Asked asked;
    if (size > 0) asked.segment.assign(text.data(), static_cast<std::size_t>(size));
    asked.at = std::chrono::seconds(status.st_mtim.tv_sec) +
               std::chrono::nanoseconds(status.st_mtim.tv_nsec);
    if (!pgdata::is_wal_segment(asked.segment)) return std::nullopt;
    return asked;
}

Result<> Spool::note_asked(const std::string& segment) const {
    CHRONOS_TRY(make_directory());
    // All names have the same length: written over the former one there is always one to be read.
    const os::FileDescriptor file(
        ::open(asked_path().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid())
        return system_error(ErrorKind::file_open, "open '" + asked_path() + "'", errno);
    if (::pwrite(file.get(), segment.data(), segment.size(), 0) < 0)
        return system_error(ErrorKind::file_write, "write '" + asked_path() + "'", errno);
    return {};
}

bool Spool::was_answered(const std::string& name) const {
    const os::FileDescriptor file(
        ::open(answered_path(name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    std::array<char, 32> text{};
    if (!file.valid()) return false;
    const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
    if (size <= 0) return false;
    const auto at = parse_uint(std::string_view(text.data(), static_cast<std::size_t>(size)));
    if (!at) return false;
    const std::int64_t ago = now_ms() - static_cast<std::int64_t>(*at);
    return ago >= 0 && ago < std::chrono::milliseconds(kAnswerKept).count();
}

void Spool::note_answered(const std::string& name) const {
    if (!make_directory()) return;
    const os::FileDescriptor file(::open(
        answered_path(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    const std::string text = std::to_string(now_ms());
    // Half a note is an older one, or none.
    if (file.valid() &&
        ::pwrite(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
        ::unlink(answered_path(name).c_str());
}

void Spool::clear() const {
    if (::access(directory_.c_str(), F_OK) != 0) return;
    const auto own = lock();
    if (!own) return;
    if (*own) return clean("");
    // Not removed from under it: a file that is whole a moment later would stay.
    const os::FileDescriptor mark(
        ::open(clear_path().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

bool Spool::must_clear() const {
    return ::access(clear_path().c_str(), F_OK) == 0;
}

/// Of a standby that waits, and asks for a history file between two segments.
bool Spool::is_kept_answer(const std::string& name) const {
    constexpr std::string_view kPrefix = "answered-";
    return name.starts_with(kPrefix) && was_answered(name.substr(kPrefix.size()));
}

void Spool::clean(const std::string& segment) const {
    const std::vector<std::string> wanted =
        segment.empty() ? std::vector<std::string>{} : following(segment);
    for (const std::string& name : names_in(directory_))
        if (name != "lock" && name != "asked" && !is_kept_answer(name) &&
            !std::binary_search(wanted.begin(), wanted.end(), name))
            ::unlink(path(name).c_str());
    const fs::path own = directory_;
    // The same data directory at an earlier start of the machine; the id of a start has 36 letters.
    const std::string key = own.filename().string();
    const std::string same = key.substr(0, key.size() - std::min<std::size_t>(key.size(), 36));
    for (const std::string& name : names_in(own.parent_path())) {
        std::error_code ignored;
        if (name != key && name.starts_with(same))
            fs::remove_all(own.parent_path() / name, ignored);
    }
}

}  // namespace chronos::ops::archive
