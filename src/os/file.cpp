#include "chronos/os/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "chronos/os/durable.h"

namespace chronos::os {
namespace {

Error cannot_read(const std::string& path, int error_number) {
    return system_error(ErrorKind::file_read, "unable to read '" + path + "'", error_number);
}

/// A file that nobody has a name for yet, and its end if it does not get one.
class Temporary {
public:
    explicit Temporary(const std::string& path)
        : name_(path + ".XXXXXX"),
          file_(::mkostemp(name_.data(), O_CLOEXEC)),
          made_(file_.valid()) {}
    ~Temporary() {
        if (made_) ::unlink(name_.c_str());
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;

    FileDescriptor& file() { return file_; }
    const std::string& name() const { return name_; }
    Result<> publish_as(const std::string& path) {
        CHRONOS_TRY(rename_file(name_, path));
        made_ = false;
        return sync_directory(parent_directory(path));
    }

private:
    std::string name_;
    FileDescriptor file_;
    bool made_;
};

}  // namespace

Result<Pipe> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        return system_error(ErrorKind::kernel, "make a pipe", errno);
    return Pipe{FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

Result<std::string> read_to_end(int fd, const std::string& path, std::size_t size_max_bytes) {
    std::string content;
    std::array<char, 16384> buffer;
    for (;;) {
        const ssize_t count = ::read(fd, buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return cannot_read(path, errno);
        if (count == 0) return content;
        content.append(buffer.data(), static_cast<std::size_t>(count));
        if (content.size() > size_max_bytes)
            return Error(ErrorKind::file_read, "unable to read '" + path + "': more than " +
                                                   std::to_string(size_max_bytes) + " bytes");
    }
}

Result<std::optional<std::string>> read_if_there(const std::string& path,
                                                 std::size_t size_max_bytes) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file.valid() && (errno == ENOENT || errno == ENOTDIR)) return std::optional<std::string>{};
    if (!file.valid())
        return system_error(ErrorKind::file_open, "unable to read '" + path + "'", errno);
    return std::optional(CHRONOS_TRY(read_to_end(file.get(), path, size_max_bytes)));
}

Result<std::string> read_small(const std::string& path, std::size_t size_max_bytes) {
    auto content = CHRONOS_TRY(read_if_there(path, size_max_bytes));
    if (!content)
        return system_error(ErrorKind::file_open, "unable to read '" + path + "'", ENOENT);
    return *std::move(content);
}

std::string read_or_empty(const std::string& path, std::size_t size_max_bytes) {
    auto content = read_if_there(path, size_max_bytes);
    return content && *content ? **std::move(content) : std::string();
}

std::string read_part_or_empty(const std::string& path, std::uint64_t offset_bytes,
                               std::size_t size_bytes) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    std::string content(size_bytes, '\0');
    std::size_t got = 0;
    while (file.valid() && got < size_bytes) {
        const ssize_t count = ::pread(file.get(), content.data() + got, size_bytes - got,
                                      static_cast<off_t>(offset_bytes + got));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) break;
        got += static_cast<std::size_t>(count);
    }
    return got == size_bytes ? content : std::string();
}

Result<> write_all(int fd, std::string_view content, const std::string& path) {
    while (!content.empty()) {
        const ssize_t count = ::write(fd, content.data(), content.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return system_error(ErrorKind::file_write, "unable to write '" + path + "'", errno);
        content.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
}

Result<> write_whole(const std::string& path, std::string_view content, mode_t mode) {
    Temporary temporary(path);
    FileDescriptor& file = temporary.file();
    if (!file.valid() || ::fchmod(file.get(), mode) != 0)
        return system_error(ErrorKind::file_write, "unable to write '" + path + "'", errno);
    CHRONOS_TRY(write_all(file.get(), content, path));
    // Before the name: a file system may write down the name first, and a power failure then leaves
    // an empty file in the place of a good one.
    CHRONOS_TRY(sync_file(file.get(), path));
    return temporary.publish_as(path);
}

}  // namespace chronos::os
