#include "chronos/storage/durable.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "chronos/base/activity.h"
#include "storage/posix/posix_paths.h"

namespace chronos::storage {

Result<> make_durable(Storage& storage, const ObjectName& name) {
    if (!storage.features().paths) return {};
    const std::string root = storage.describe("");
    std::string path = storage.describe(name);
    const io::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid())
        return system_error(ErrorKind::file_open, "unable to open '" + path + "'", errno);
    const Activity::LongCall writing_back;
    if (::fsync(file.get()) != 0)
        return system_error(ErrorKind::file_sync, "unable to sync '" + path + "'", errno);
    while (path.size() > root.size() && path != "/") {
        path = parent_path(path);
        CHRONOS_TRY(sync_directory(path));
    }
    return {};
}

}  // namespace chronos::storage
