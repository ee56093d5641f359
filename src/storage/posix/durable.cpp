#include "chronos/storage/durable.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "chronos/os/durable.h"

namespace chronos::storage {

Result<> make_durable(Storage& storage, const ObjectName& name) {
    if (!storage.features().paths) return {};
    const std::string root = storage.describe("");
    std::string path = storage.describe(name);
    const os::FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file.valid())
        return system_error(ErrorKind::file_open, "unable to open '" + path + "'", errno);
    CHRONOS_TRY(os::sync_file(file.get(), path));
    while (path.size() > root.size() && path != "/") {
        path = os::parent_directory(path);
        CHRONOS_TRY(os::sync_directory(path));
    }
    return {};
}

}  // namespace chronos::storage
