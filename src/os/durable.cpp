#include "chronos/os/durable.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "chronos/base/activity.h"

namespace chronos::os {
namespace {

Result<> sync_open(int fd, ErrorKind kind, const std::string& what) {
    const Activity::LongCall writing_back;
    if (::fsync(fd) != 0) return system_error(kind, "unable to sync " + what, errno);
    return {};
}

}  // namespace

std::string parent_directory(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

Result<> sync_file(int fd, const std::string& path) {
    return sync_open(fd, ErrorKind::file_sync, "'" + path + "'");
}

Result<> sync_directory(int fd, const std::string& path) {
    return sync_open(fd, ErrorKind::path_sync, "path '" + path + "'");
}

Result<> sync_directory(const std::string& path) {
    const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid())
        return system_error(ErrorKind::path_open, "unable to open path '" + path + "'", errno);
    return sync_directory(fd.get(), path);
}

void start_write_back(int fd, std::uint64_t from_bytes, std::uint64_t until_bytes) {
    ::sync_file_range(fd, static_cast<off_t>(from_bytes),
                      static_cast<off_t>(until_bytes - from_bytes), SYNC_FILE_RANGE_WRITE);
}

Result<> rename_file(const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) != 0)
        return system_error(ErrorKind::file_move, "unable to move '" + from + "' to '" + to + "'",
                            errno);
    return {};
}

Result<> publish(const std::string& temporary, const std::string& path) {
    CHRONOS_TRY(rename_file(temporary, path));
    return sync_directory(parent_directory(path));
}

}  // namespace chronos::os
