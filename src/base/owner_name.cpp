#include "chronos/base/owner_name.h"

#include <mutex>
#include <set>

namespace chronos {

const std::string* OwnerName::shared(std::string_view text) {
    static std::mutex mutex;
    // Never destroyed: names may be compared while the process ends.
    static auto& texts = *new std::set<std::string, std::less<>>;
    const std::lock_guard lock(mutex);
    const auto found = texts.find(text);
    return found != texts.end() ? &*found : &*texts.emplace(text).first;
}

}  // namespace chronos
