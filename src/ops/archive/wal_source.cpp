#include "ops/archive/wal_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "chronos/crypto/hash.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/wal.h"

namespace chronos::ops::archive {
namespace {

Result<os::FileDescriptor> open_file(const std::string& path) {
    os::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.valid()) return file;
    const ErrorKind kind = errno == ENOENT ? ErrorKind::not_found : ErrorKind::file_open;
    return system_error(kind, "open '" + path + "'", errno);
}

Result<std::size_t> read_some(int fd, const std::string& path, io::MutableBytes out) {
    for (;;) {
        const ssize_t count = ::read(fd, out.data(), out.size());
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno != EINTR) return system_error(ErrorKind::file_read, "read '" + path + "'", errno);
    }
}

class FileSource final : public io::Source {
public:
    FileSource(os::FileDescriptor file, const std::string& path)
        : file_(std::move(file)), path_(path) {}
    Result<std::size_t> read(io::MutableBytes out) override {
        return read_some(file_.get(), path_, out);
    }

private:
    os::FileDescriptor file_;
    const std::string& path_;
};

}  // namespace

BufferPool::Buffer BufferPool::take() {
    {
        const std::lock_guard lock(mutex_);
        if (!free_.empty()) {
            Buffer buffer = std::move(free_.back());
            free_.pop_back();
            return buffer;
        }
    }
    return std::make_unique_for_overwrite<std::byte[]>(kBufferSize);
}

void BufferPool::give_back(Buffer buffer) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(buffer));
}

Result<WalSource> WalSource::open(const std::string& path, BufferPool& pool) {
    const os::FileDescriptor file = CHRONOS_TRY(open_file(path));
    struct stat info = {};
    if (::fstat(file.get(), &info) != 0)
        return system_error(ErrorKind::file_info, "get info of '" + path + "'", errno);
    WalSource source(path, pool);
    source.size_ = static_cast<std::uint64_t>(info.st_size);
    if (source.size_ <= BufferPool::kBufferSize) CHRONOS_TRY(source.load(file.get()));
    return source;
}

WalSource::~WalSource() {
    if (content_) pool_->give_back(std::move(content_));
}

Result<> WalSource::load(int fd) {
    content_ = pool_->take();
    std::uint64_t filled = 0;
    while (filled < size_) {
        const std::size_t count =
            CHRONOS_TRY(read_some(fd, path_, {content_.get() + filled, size_ - filled}));
        if (count == 0) break;
        filled += count;
    }
    size_ = filled;
    return {};
}

Result<std::vector<std::byte>> WalSource::head(std::size_t count) const {
    std::vector<std::byte> bytes(count);
    std::size_t filled = 0;
    if (in_memory()) {
        io::MemorySource source(content());
        filled = CHRONOS_TRY(io::read_full(source, bytes));
    } else {
        FileSource source(CHRONOS_TRY(open_file(path_)), path_);
        filled = CHRONOS_TRY(io::read_full(source, bytes));
    }
    if (filled == count) return bytes;
    return Error(ErrorKind::file_read,
                 "unable to read " + std::to_string(count) + " byte(s) from '" + path_ + "'");
}

Result<std::string> WalSource::checksum() {
    if (!checksum_.empty()) return checksum_;
    io::NullSink nowhere;
    return checksum(nowhere);
}

Result<std::string> WalSource::checksum(io::Sink& reader) {
    if (in_memory()) {
        CHRONOS_TRY(reader.write(content()));
        checksum_ = crypto::sha1_hex(content());
    } else {
        FileSource source(CHRONOS_TRY(open_file(path_)), path_);
        crypto::Sha1Sink hash(reader);
        CHRONOS_TRY(io::copy(source, hash));
        checksum_ = hash.hex();
    }
    return checksum_;
}

std::optional<pgdata::WalCommit> WalSource::last_commit() const {
    const Result<std::vector<std::byte>> first = head(pgdata::kWalHeaderSize);
    if (!first) return std::nullopt;
    const Result<pgdata::WalHeader> header = pgdata::parse_wal_header(*first);
    if (!header) return std::nullopt;
    if (!in_memory()) return last_commit_of_file(header->page_address);
    return pgdata::last_commit(content(), header->page_address);
}

/// From the end, a part at a time.
std::optional<pgdata::WalCommit> WalSource::last_commit_of_file(Lsn start) const {
    constexpr std::uint64_t kPart = std::uint64_t{4} << 20;
    const Result<os::FileDescriptor> file = open_file(path_);
    if (!file) return std::nullopt;
    std::vector<std::byte> part(kPart);
    for (std::uint64_t end = size_; end >= kPart; end -= kPart) {
        const std::uint64_t at = end - kPart;
        const ssize_t count = ::pread(file->get(), part.data(), kPart, static_cast<off_t>(at));
        if (count != static_cast<ssize_t>(kPart)) return std::nullopt;
        if (auto found = pgdata::last_commit(part, Lsn{start.value + at})) return found;
    }
    return std::nullopt;
}

Result<> WalSource::copy_to(io::Sink& sink) const {
    if (in_memory()) {
        if (size_ > 0) CHRONOS_TRY(sink.write(content()));
        return sink.finish();
    }
    FileSource source(CHRONOS_TRY(open_file(path_)), path_);
    crypto::Sha1Sink hash(sink);
    CHRONOS_TRY(io::pump(source, hash));
    // Without this the archive would hold other bytes than the name says.
    if (!checksum_.empty() && hash.hex() != checksum_)
        return Error(ErrorKind::file_read, "'" + path_ + "' changed while it was being read");
    return sink.finish();
}

}  // namespace chronos::ops::archive
