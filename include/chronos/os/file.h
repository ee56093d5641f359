#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "chronos/base/result.h"

namespace chronos::os {

/// An open file descriptor and the duty to close it.
class FileDescriptor {
public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) noexcept : fd_(fd) {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = other.release();
        }
        return *this;
    }
    ~FileDescriptor() { reset(); }

    bool valid() const noexcept { return fd_ >= 0; }
    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }
    void reset() noexcept {
        if (fd_ >= 0) ::close(release());
    }
    /// False, with errno, if close() fails, whose error can be that of an earlier write.
    bool close() noexcept { return fd_ < 0 || ::close(release()) == 0; }

private:
    int fd_ = -1;
};

/// Both ends of a pipe, which no other program inherits. Kind kernel.
struct Pipe {
    FileDescriptor read_end;
    FileDescriptor write_end;
};
Result<Pipe> make_pipe();

/// From where the descriptor stands to the end; a file that grows meanwhile is read to its end.
/// More than `size_max_bytes` is an error of kind file_read like a failure of reading; `path` is
/// for messages.
Result<std::string> read_to_end(int fd, const std::string& path, std::size_t size_max_bytes);

/// The whole content. Kinds: file_open, file_read (also if it is longer).
Result<std::string> read_small(const std::string& path, std::size_t size_max_bytes);
/// nullopt if there is no file of that name.
Result<std::optional<std::string>> read_if_there(const std::string& path,
                                                 std::size_t size_max_bytes);

/// "" where it cannot be read.
std::string read_or_empty(const std::string& path, std::size_t size_max_bytes);

/// So many bytes of it, from there on; "" if there are not so many, or it cannot be read.
std::string read_part_or_empty(const std::string& path, std::uint64_t offset_bytes,
                               std::size_t size_bytes);

/// All of it, however many calls that takes. Kind file_write.
Result<> write_all(int fd, std::string_view content, const std::string& path);

/// Puts a file of that content and of exactly that mode in the place of `path`. Whoever reads
/// `path` finds the old content or the new one, also after a crash or a power failure at any
/// moment; once this returns, the new one is there for good. A link is replaced and not followed.
/// What a killed process leaves is called "<path>.??????". Any number of processes may write the
/// same name. Kinds: file_write, file_sync, file_move, path_open, path_sync.
Result<> write_whole(const std::string& path, std::string_view content, mode_t mode = 0600);

}  // namespace chronos::os
