#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

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

/// A file of the cluster as it shall be.
struct WantedFile {
    std::string path;
    FileAttributes attributes;
    /// More than this is an error of kind checksum: damaged data must not fill the disk.
    std::uint64_t size_bytes = 0;
    std::string checksum = {};  ///< SHA-1 of the content
    bool sparse = false;        ///< pages of zeros become holes where the file is made from nothing
    bool sync = false;          ///< fsync() when done
    /// The file lies behind a link that the backup has; other links are replaced by the file.
    bool behind_link = false;
};

/// What happened to bytes, for progress; and the place to stop.
struct CopyWatch {
    const Cancellation& cancel;
    std::function<void(std::uint64_t bytes)> written;
};

/// A file of the cluster being made: what its content is written to, from start to end as to any
/// Sink, or block by block.
class TargetFile final : public io::Sink {
public:
    /// Writes the content and finishes the file.
    using Content = std::function<Result<>(TargetFile&)>;

    /// Makes the file of `content` and of nothing else, and compares it with its checksum (kind
    /// checksum, naming the file). What stands there is emptied, or if it has other names as well
    /// left to them.
    static Result<> replace(const WantedFile& wanted, const CopyWatch& watch,
                            const Content& content);
    /// The same in place: what `content` does not write stays. The file there has one name only.
    static Result<> amend(const WantedFile& wanted, const CopyWatch& watch, const Content& content);
    /// Makes it all zeros, without blocks on disk.
    static Result<> replace_with_zeros(const WantedFile& wanted, const CopyWatch& watch);
    /// Makes it of a text of ours: of `wanted` size and checksum do not matter.
    static Result<> replace_with_text(WantedFile wanted, std::string_view text);
    /// A file that has the content already gets its size, owner, mode and time. It has one name.
    static Result<> settle(const WantedFile& wanted, const CopyWatch& watch);
    /// Takes off what is behind the wanted size. It has one name.
    static Result<> shorten(const WantedFile& wanted, const CopyWatch& watch);

    /// The next bytes of the content.
    Result<> write(io::Bytes in) override;
    /// Bytes at a place. The file is hashed on the way as long as they come in order, else it is
    /// read once more.
    Result<> write_at(std::uint64_t offset_bytes, io::Bytes in);
    /// Owner, mode, time; sync and close.
    Result<> finish() override;

private:
    /// Whether it is made from nothing, or what is there stays.
    enum class From { nothing, existing };
    TargetFile(const WantedFile& wanted, os::FileDescriptor file, From from,
               const CopyWatch& watch);
    static Result<TargetFile> open(const WantedFile& wanted, From from, const CopyWatch& watch);
    static Result<> make(const WantedFile& wanted, From from, const CopyWatch& watch,
                         const Content& content);
    Result<> compare();
    Result<> set_size(std::uint64_t size_bytes);
    Result<> put(std::uint64_t offset_bytes, io::Bytes in);
    Result<> put_sparse(io::Bytes in);
    Error failed(ErrorKind kind, const char* what) const;

    const WantedFile& wanted_;
    os::FileDescriptor file_;
    const CopyWatch& watch_;
    bool sparse_;
    bool hashed_;  ///< all of it went through write(), in order
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
