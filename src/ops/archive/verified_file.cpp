#include "ops/archive/verified_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "chronos/pgdata/wal.h"

namespace chronos::ops::archive {

std::string temporary_name(const std::string& destination) {
    return destination + ".chronos.tmp";
}

Result<> check_segment(io::Bytes head, const std::string& name, std::uint64_t size_bytes,
                       const repo::ClusterIdentity& cluster, std::optional<std::uint64_t> begins) {
    const pgdata::WalHeader header = CHRONOS_TRY(pgdata::parse_wal_header(head));
    if (header.system_id != cluster.system_id || header.version != cluster.version)
        return Error(ErrorKind::archive_mismatch,
                     "segment of version " + header.version + ", system-id " +
                         std::to_string(header.system_id) +
                         " does not belong to this cluster of version " + cluster.version +
                         ", system-id " + std::to_string(cluster.system_id));
    return pgdata::check_wal_segment(header, name, size_bytes, begins);
}

Result<VerifiedFile> VerifiedFile::create(const std::string& destination,
                                          std::optional<SegmentExpectation> expected) {
    VerifiedFile file(destination, std::move(expected));
    const std::string path = file.temporary();
    file.file_ =
        os::FileDescriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.file_.valid())
        return system_error(ErrorKind::file_write, "create '" + path + "'", errno);
    if (file.expected_) {
        if (file.expected_->unfinished)
            file.reader_.emplace(pgdata::WalReader::Depth::records,
                                 pgdata::timeline_of_segment(file.expected_->name),
                                 file.expected_->begins);
        file.sha1_ = std::make_unique<SegmentSha1>(
            file.expected_->in_haste ? SegmentSha1::Thread::own : SegmentSha1::Thread::callers);
        // Halves what writing costs; where it is not supported nothing is lost.
        [[maybe_unused]] const int ignored =
            ::fallocate(file.file_.get(), 0, 0, static_cast<off_t>(file.expected_->size_bytes));
    }
    return file;
}

VerifiedFile::~VerifiedFile() {
    if (file_.valid()) ::unlink(temporary().c_str());
}

Result<> VerifiedFile::write(io::Bytes in) {
    size_ += in.size();
    if (expected_ && size_ > expected_->size_bytes)
        return Error(ErrorKind::checksum, "content has more than the " +
                                              std::to_string(expected_->size_bytes) +
                                              " bytes of a segment");
    if (head_.size() < pgdata::kWalHeaderSize) {
        const std::size_t wanted = pgdata::kWalHeaderSize - head_.size();
        const io::Bytes begin = in.first(std::min(wanted, in.size()));
        head_.insert(head_.end(), begin.begin(), begin.end());
    }
    if (!expected_) return write_file(in);
    if (reader_) CHRONOS_TRY(reader_->write(in));
    while (!in.empty()) {
        if (!block_) block_ = sha1_->take();
        const std::size_t count = std::min(in.size(), SegmentSha1::kBlockSize - block_->size);
        std::memcpy(block_->data.get() + block_->size, in.data(), count);
        block_->size += count;
        in = in.subspan(count);
        if (block_->size == SegmentSha1::kBlockSize) CHRONOS_TRY(flush_block());
    }
    return {};
}

Result<> VerifiedFile::flush_block() {
    if (!block_) return {};
    const std::shared_ptr<SegmentSha1::Block> block = std::move(block_);
    sha1_->add(block);
    return write_file(block->bytes());
}

Result<> VerifiedFile::write_file(io::Bytes in) {
    while (!in.empty()) {
        const ssize_t count = ::write(file_.get(), in.data(), in.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return system_error(ErrorKind::file_write, "write '" + temporary() + "'", errno);
        in = in.subspan(static_cast<std::size_t>(count));
    }
    return {};
}

Result<> VerifiedFile::extend(std::uint64_t size_bytes) {
    if (::ftruncate(file_.get(), static_cast<off_t>(size_bytes)) != 0)
        return system_error(ErrorKind::file_write, "extend '" + temporary() + "'", errno);
    return {};
}

Result<> VerifiedFile::check() {
    if (!expected_) return {};
    if (size_ != expected_->size_bytes)
        return Error(ErrorKind::checksum,
                     "content has " + std::to_string(size_) + " bytes instead of the " +
                         std::to_string(expected_->size_bytes) + " of a segment");
    if (sha1_->finish() != expected_->checksum)
        return Error(ErrorKind::checksum,
                     "content does not have the checksum " + expected_->checksum);
    const auto begins = expected_->begins
                            ? std::optional(expected_->begins->value / expected_->size_bytes)
                            : std::nullopt;
    CHRONOS_TRY(check_segment(head_, expected_->name, size_, expected_->cluster, begins));
    if (reader_) {
        const pgdata::WalExtent extent = reader_->extent();
        if (!extent.whole) CHRONOS_TRY(expected_->unfinished(extent));
        if (!extent.tablespaces.empty() && expected_->creates)
            CHRONOS_TRY(expected_->creates(extent, temporary()));
    }
    return cut();
}

Result<> VerifiedFile::cut() {
    if (!expected_->keep_bytes || *expected_->keep_bytes >= size_) return {};
    if (::ftruncate(file_.get(), static_cast<off_t>(*expected_->keep_bytes)) == 0 &&
        ::ftruncate(file_.get(), static_cast<off_t>(size_)) == 0)
        return {};
    return system_error(ErrorKind::file_write, "cut '" + temporary() + "'", errno);
}

Result<> VerifiedFile::finish() {
    CHRONOS_TRY(flush_block());
    CHRONOS_TRY(check());
    // Before the rename: a file system may report a failed write only now.
    if (::close(file_.release()) != 0) {
        const int error_number = errno;
        ::unlink(temporary().c_str());
        return system_error(ErrorKind::file_write, "close '" + temporary() + "'", error_number);
    }
    // A file that is replaced makes ext4 write the new one out at once (auto_da_alloc), which takes
    // longer than all the rest. Recovery has removed the old one anyway.
    ::unlink(destination_.c_str());
    if (std::rename(temporary().c_str(), destination_.c_str()) == 0) return {};
    const int error_number = errno;
    ::unlink(temporary().c_str());
    return system_error(ErrorKind::file_move,
                        "rename '" + temporary() + "' to '" + destination_ + "'", error_number);
}

}  // namespace chronos::ops::archive
