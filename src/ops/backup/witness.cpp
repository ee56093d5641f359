#include "ops/backup/witness.h"

namespace chronos::ops::backup {
namespace {

Error taken_over(const std::string& object, const char* what) {
    return Error(ErrorKind::lock_acquire, "'" + object + "' " + what +
                                              " since this backup wrote it: somebody else works on"
                                              " the same backup")
        .with_hint("Is another backup of this stanza running, perhaps on another host?");
}

}  // namespace

Result<> Witness::note(storage::Storage& storage, const std::string& name) {
    const auto entry = CHRONOS_TRY(storage.info(name));
    if (!entry) return taken_over(storage.describe(name), "was removed");
    looks_[name] = {entry->size, entry->modified};
    return {};
}

Result<> Witness::check(storage::Storage& storage) const {
    for (const auto& [name, look] : looks_) {
        const auto entry = CHRONOS_TRY(storage.info(name));
        if (!entry) return taken_over(storage.describe(name), "was removed");
        if (entry->size != look.size || entry->modified != look.modified)
            return taken_over(storage.describe(name), "was changed");
    }
    return {};
}

}  // namespace chronos::ops::backup
