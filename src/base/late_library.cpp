#include "chronos/base/late_library.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace chronos {

void* LateLibrary::find_address(const char* name) {
    const std::lock_guard lock(mutex_);
    // Local, so that nothing else is bound to what it brings; lazy, because few of its functions
    // are called.
    if (handle_ == nullptr) handle_ = dlopen(file_, RTLD_LAZY | RTLD_LOCAL);
    void* address = handle_ == nullptr ? nullptr : dlsym(handle_, name);
    if (address == nullptr) {
        const char* reason = dlerror();
        throw std::runtime_error(std::string("unable to load ") + file_ + ": " +
                                 (reason == nullptr ? "unknown reason" : reason));
    }
    return address;
}

}  // namespace chronos
