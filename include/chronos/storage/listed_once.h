#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "chronos/storage/forwarding.h"

namespace chronos::storage {

/// Lists each directory once: who decides by several looks at the same directories decides by one
/// state of them, and waits for one answer. For as long as a decision takes. Up to kEntriesMax
/// entries are kept, what does not fit is asked for again. An error is not kept. Any thread.
class ListedOnce final : public ReadOnlyStorage {
public:
    static constexpr std::size_t kEntriesMax = std::size_t{1} << 16;

    using ReadOnlyStorage::ReadOnlyStorage;

    Result<std::vector<Entry>> list(const ObjectName& directory,
                                    const std::string& name_prefix) override;

private:
    const std::vector<Entry>* find(const ObjectName& directory, const std::string& name_prefix);

    std::mutex mutex_;
    std::map<std::pair<std::string, std::string>, std::vector<Entry>> known_;
    std::size_t entries_ = 0;
};

}  // namespace chronos::storage
