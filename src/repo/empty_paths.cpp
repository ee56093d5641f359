#include "chronos/repo/empty_paths.h"

#include <unistd.h>

#include <cerrno>

namespace chronos::repo {

void remove_empty_paths(storage::Storage& storage, std::string path) {
    if (!storage.features().paths) return;
    while (!path.empty()) {
        if (::rmdir(storage.describe(path).c_str()) != 0 && errno != ENOENT) return;
        const std::size_t slash = path.rfind('/');
        path.resize(slash == std::string::npos ? 0 : slash);
    }
}

}  // namespace chronos::repo
