#include "chronos/base/standard_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "chronos/base/error.h"

namespace chronos {

void open_standard_files() noexcept {
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
        if (::fcntl(descriptor, F_GETFD) != -1 || errno != EBADF) continue;
        // The lowest free number is this one: those below are open by now.
        const int flags = descriptor == STDIN_FILENO ? O_RDONLY : O_WRONLY;
        if (::open("/dev/null", flags) == descriptor) continue;
        // A chroot without /dev: what is written there is lost with an error, not in a file.
        if (::open("/", O_PATH) != descriptor) ::_exit(static_cast<int>(ErrorKind::kernel));
    }
}

}  // namespace chronos
