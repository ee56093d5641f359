#include "chronos/storage/listed_once.h"

#include <algorithm>
#include <iterator>

namespace chronos::storage {

/// Under the mutex. A listing of all of a directory tells of each part of it.
const std::vector<Entry>* ListedOnce::find(const ObjectName& directory,
                                           const std::string& name_prefix) {
    const auto found = known_.find({directory, name_prefix});
    return found == known_.end() ? nullptr : &found->second;
}

Result<std::vector<Entry>> ListedOnce::list(const ObjectName& directory,
                                            const std::string& name_prefix) {
    {
        const std::lock_guard lock(mutex_);
        if (const auto* same = find(directory, name_prefix)) return *same;
        if (const auto* all = find(directory, "")) {
            std::vector<Entry> part;
            std::ranges::copy_if(*all, std::back_inserter(part), [&](const Entry& entry) {
                return entry.name.starts_with(name_prefix);
            });
            return part;
        }
    }
    auto listed = CHRONOS_TRY(next_.list(directory, name_prefix));
    const std::lock_guard lock(mutex_);
    if (entries_ + listed.size() <= kEntriesMax &&
        known_.emplace(std::pair{directory, name_prefix}, listed).second)
        entries_ += listed.size() + 1;
    return listed;
}

}  // namespace chronos::storage
