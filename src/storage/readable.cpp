#include "chronos/storage/readable.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace chronos::storage {

// Where there are directories, what a person would call an object is its path.
bool may_read(const Storage& storage, const ObjectName& name) {
    if (!storage.features().paths) return true;
    return ::faccessat(AT_FDCWD, storage.describe(name).c_str(), R_OK, AT_EACCESS) == 0 ||
           errno != EACCES;
}

}  // namespace chronos::storage
