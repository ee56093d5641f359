#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "chronos/io/stream.h"
#include "chronos/pgdata/wal_commits.h"

namespace chronos::ops::archive {

/// Memory for whole segments that is used again: fresh memory costs a page fault for each 4 kB,
/// a tenth of what compressing the segment costs.
class BufferPool {
public:
    static constexpr std::size_t kBufferSize = std::size_t{32} << 20;
    using Buffer = std::unique_ptr<std::byte[]>;

    /// A buffer of kBufferSize bytes, untouched and so without memory behind it when it is new.
    Buffer take();
    void give_back(Buffer buffer);

private:
    std::mutex mutex_;
    std::vector<Buffer> free_;
};

/// The content of a file in pg_wal, which is read more than once: for its header, its checksum and
/// to be stored. What the readers see is the same bytes: the file is held in memory if it fits
/// there, and otherwise stored with a check that its checksum has not changed.
class WalSource {
public:
    /// Kind not_found if there is no such file.
    static Result<WalSource> open(const std::string& path, BufferPool& pool);
    WalSource(WalSource&&) noexcept = default;
    ~WalSource();

    std::uint64_t size() const { return size_; }
    bool in_memory() const { return content_ != nullptr; }
    /// All of it, if it is in memory.
    io::Bytes content() const { return {content_.get(), size_}; }
    /// The first `count` bytes. Kind file_read if there are less.
    Result<std::vector<std::byte>> head(std::size_t count) const;
    /// SHA-1 of the content; remembered.
    Result<std::string> checksum();
    /// The same, and `reader` gets all of it.
    Result<std::string> checksum(io::Sink& reader);
    /// The last commit in it, if there is one and it can be read.
    std::optional<pgdata::WalCommit> last_commit() const;
    /// Writes the content to `sink` and finishes it.
    Result<> copy_to(io::Sink& sink) const;

private:
    WalSource(std::string path, BufferPool& pool) : path_(std::move(path)), pool_(&pool) {}
    Result<> load(int fd);
    std::optional<pgdata::WalCommit> last_commit_of_file(Lsn start) const;

    std::string path_;
    BufferPool* pool_;
    BufferPool::Buffer content_;
    std::uint64_t size_ = 0;
    std::string checksum_;
};

}  // namespace chronos::ops::archive
