#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronos/io/stream.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/wal_extent.h"
#include "chronos/repo/stanza.h"
#include "ops/archive/segment_sha1.h"

namespace chronos::ops::archive {

/// What the content of a segment must be.
struct SegmentExpectation {
    std::string name;  ///< of the segment, or partial segment
    std::uint64_t size_bytes = 0;
    std::string checksum;  ///< SHA-1
    repo::ClusterIdentity cluster;
    /// Whether somebody waits for it, so that a second thread is worth its while.
    bool in_haste = true;
    /// Where its timeline begins, if that is known.
    std::optional<Lsn> begins = std::nullopt;
    /// What it says to a segment with which recovery could not go on to the next one.
    std::function<Result<>(const pgdata::WalExtent&)> unfinished = {};
    /// What it says to a segment that creates tablespaces; `file` has its content.
    std::function<Result<>(const pgdata::WalExtent&, const std::string& file)> creates = {};
    /// What lies behind is replaced by zeros, where the server sees that the WAL ends.
    std::optional<std::uint64_t> keep_bytes = std::nullopt;
};

/// Whether `head`, the first pgdata::kWalHeaderSize bytes of a file of `size_bytes`, is of that
/// segment and that cluster: what may be stored under its name, and what may be handed to recovery.
/// `begins` as for pgdata::check_wal_segment(). Kinds: archive_mismatch, and those of
/// pgdata::parse_wal_header().
Result<> check_segment(io::Bytes head, const std::string& name, std::uint64_t size_bytes,
                       const repo::ClusterIdentity& cluster,
                       std::optional<std::uint64_t> begins = std::nullopt);

/// What a file is called until it is whole. The name is always the same, so that a killed process
/// leaves one file, not one a try.
std::string temporary_name(const std::string& destination);

/// Writes a file beside its destination and lets it appear there in finish(), if it is what is
/// expected. Destroyed before, it leaves nothing.
///
/// Not synced: recovery reads it at once, and after a power failure asks for it again.
class VerifiedFile final : public io::Sink {
public:
    /// `expected` nullopt: any content.
    static Result<VerifiedFile> create(const std::string& destination,
                                       std::optional<SegmentExpectation> expected);
    VerifiedFile(VerifiedFile&&) noexcept = default;
    ~VerifiedFile() override;

    Result<> write(io::Bytes in) override;
    Result<> finish() override;

    /// Zeros up to that size, which nothing is written for. Of a file with any content.
    Result<> extend(std::uint64_t size_bytes);
    /// The first bytes written, pgdata::kWalHeaderSize at most.
    io::Bytes head() const { return head_; }

private:
    VerifiedFile(std::string destination, std::optional<SegmentExpectation> expected)
        : destination_(std::move(destination)), expected_(std::move(expected)) {}
    std::string temporary() const { return temporary_name(destination_); }
    Result<> write_file(io::Bytes in);
    Result<> flush_block();
    Result<> check();
    Result<> cut();

    std::string destination_;
    std::optional<SegmentExpectation> expected_;
    os::FileDescriptor file_;
    /// Of a segment, which is collected in large blocks: the kernel, too, is faster with them.
    std::unique_ptr<SegmentSha1> sha1_;
    std::optional<pgdata::WalReader> reader_;
    std::shared_ptr<SegmentSha1::Block> block_;
    std::uint64_t size_ = 0;
    std::vector<std::byte> head_;
};

}  // namespace chronos::ops::archive
