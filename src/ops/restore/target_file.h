#pragma once

#include <functional>
#include <optional>
#include <string>

#include "chronos/base/cancel.h"
#include "chronos/base/clock.h"
#include "chronos/crypto/hash.h"
#include "chronos/io/stream.h"
#include "chronos/os/file.h"
#include "ops/restore/ownership.h"

namespace chronos::ops::restore {

struct FileAttributes {
    mode_t mode = 0600;
    UnixTime modified = 0;
    std::optional<Owner> owner;
};

struct TargetFileOptions {
    FileAttributes attributes;
    bool sparse = false;  ///< pages of zeros become holes; only for files made from nothing
    bool sync = false;    ///< fsync() when done
    /// The file lies behind a link that the backup has; other links are replaced by the file.
    bool behind_link = false;
    /// More than this is an error of kind checksum: damaged data must not fill the disk.
    std::uint64_t size_max = UINT64_MAX;
};

/// What happened to bytes, for progress; and the place to stop.
struct CopyWatch {
    const Cancellation& cancel;
    std::function<void(std::uint64_t bytes)> written;
};

/// A file of the cluster being made. Written from start to end as a Sink, or block by block.
class TargetFile final : public io::Sink {
public:
    /// `truncate`: start from nothing, with a file of its own: one that has other names too is left
    /// to them. Otherwise an existing file is changed in place, which must have one name only.
    static Result<TargetFile> open(std::string path, bool truncate, TargetFileOptions options,
                                   const CopyWatch& watch);

    /// The next bytes of the content.
    Result<> write(io::Bytes in) override;
    /// Bytes at a place; such a file has no checksum of its own afterwards.
    Result<> write_at(std::uint64_t offset_bytes, io::Bytes in);
    /// Makes the file exactly that long; what is added reads as zeros.
    Result<> set_size(std::uint64_t size_bytes);
    /// Owner, mode, time; sync and close.
    Result<> finish() override;

    std::uint64_t size() const { return position_; }
    /// SHA-1 of what went through write(). Once.
    std::string checksum() { return sha1_.hex(); }

private:
    TargetFile(std::string path, os::FileDescriptor file, TargetFileOptions options,
               const CopyWatch& watch);
    Result<> put(std::uint64_t offset_bytes, io::Bytes in);
    Result<> put_sparse(io::Bytes in);
    Error failed(ErrorKind kind, const char* what) const;

    std::string path_;
    os::FileDescriptor file_;
    TargetFileOptions options_;
    const CopyWatch& watch_;
    crypto::Sha1 sha1_;
    std::uint64_t position_ = 0;
    std::uint64_t end_ = 0;     ///< behind the last byte that was really written
    std::uint64_t pushed_ = 0;  ///< up to where the kernel was asked to begin writing
};

struct ExistingFile {
    std::uint64_t size = 0;
    UnixTime modified = 0;
    bool has_other_names = false;  ///< hard links: it belongs to somebody else as well
    mode_t mode = 0;
    Owner owner;
};
Result<std::optional<ExistingFile>> look_at_file(const std::string& path);
/// SHA-1 of the content of a file.
Result<std::string> checksum_of_file(const std::string& path, const Cancellation& cancel);

}  // namespace chronos::ops::restore
